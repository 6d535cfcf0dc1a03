import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from ml.errors import UnreadableImageError
from ml.images import decode_rgb, inspect, presize, write_thumbnails

RED, WHITE = (255, 0, 0), (255, 255, 255)


def left_red(width: int = 4, height: int = 2) -> Image.Image:
    """Red on the left half, black on the right."""
    image = Image.new("RGB", (width, height))
    image.paste(RED, (0, 0, width // 2, height))
    return image


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    path = tmp_path / "turned.png"
    left_red().save(path, exif=exif)

    info, image = inspect(path), decode_rgb(path)

    assert (info.width, info.height, info.orientation) == (2, 4, 6)
    assert image.shape == (4, 2, 3)
    assert tuple(image[0, 0]) == RED
    assert tuple(image[3, 0]) == (0, 0, 0)


def test_a_tiff_is_turned_once(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.tiff"
    left_red().save(path, exif=exif)

    assert (inspect(path).width, inspect(path).height) == (2, 4)
    assert tuple(decode_rgb(path)[0, 0]) == RED


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(path, quality=100)

    assert inspect(path).mode == "CMYK"
    assert decode_rgb(path)[4, 4].astype(int) == pytest.approx(RED, abs=4)


def test_sixteen_bits_keep_their_high_byte(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((2, 2), 0x80FF, np.uint16)).save(path)

    assert (decode_rgb(path) == 0x80).all()


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    clear = tmp_path / "clear.png"
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(clear)
    palette = tmp_path / "palette.png"
    Image.new("P", (2, 2), 0).save(palette, transparency=0)

    assert tuple(decode_rgb(clear)[0, 0]) == WHITE
    assert tuple(decode_rgb(palette)[0, 0]) == WHITE


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    second = Image.new("RGB", (4, 4), (0, 0, 255))
    Image.new("RGB", (4, 4), RED).save(path, save_all=True, append_images=[second])

    assert tuple(decode_rgb(path)[0, 0]) == RED


def test_floats_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    Image.fromarray(np.zeros((2, 2), np.float32)).save(path)

    with pytest.raises(UnreadableImageError, match="no agreed range"):
        decode_rgb(path)


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    path = tmp_path / "cut.jpg"
    path.write_bytes(buffer.getvalue()[:2000])

    with pytest.raises(UnreadableImageError, match=r"cut\.jpg cannot be read: truncated"):
        decode_rgb(path)


def test_text_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear Sir or Madam")

    with pytest.raises(UnreadableImageError, match="not an image of a format Pillow can identify"):
        inspect(path)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="no such file"):
        decode_rgb(tmp_path / "gone.jpg")


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(65536, 65536))

    reason = "65536 x 65536 pixels exceed the limit of 200,000,000 pixels"
    with pytest.raises(UnreadableImageError, match=reason):
        inspect(path)
    with pytest.raises(UnreadableImageError, match=reason):
        decode_rgb(path)


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0" * 4


def test_broken_exif_is_a_note_and_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "noted.jpg"
    left_red().save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\x40\0\x12\x01")

    assert inspect(path).warnings != ()
    assert decode_rgb(path).shape == (2, 4, 3)


def test_scaled_decoding_keeps_the_short_side(tmp_path: Path) -> None:
    path = tmp_path / "big.jpg"
    left_red(800, 640).save(path)

    assert decode_rgb(path, min_short_side=160).shape == (160, 200, 3)
    assert decode_rgb(path, min_short_side=161).shape == (320, 400, 3)
    assert decode_rgb(path, min_short_side=2000).shape == (640, 800, 3)


def test_presizing_shrinks_and_never_enlarges() -> None:
    image = np.zeros((40, 80, 3), np.uint8)

    assert presize(image, 20).shape == (20, 40, 3)
    assert presize(image, 40) is image
    assert presize(image, 100) is image


def test_presizing_averages_what_it_drops() -> None:
    stripes = np.zeros((40, 40, 3), np.uint8)
    stripes[:, ::2] = 200

    assert presize(stripes, 10)[5, 5].astype(int) == pytest.approx((100, 100, 100), abs=6)


def test_thumbnails_fit_their_size_and_are_not_enlarged(tmp_path: Path) -> None:
    paths = write_thumbnails(np.zeros((100, 200, 3), np.uint8), tmp_path, "a7", sizes=(64, 256))

    assert [path.name for path in paths] == ["a7-64.jpg", "a7-256.jpg"]
    assert [(inspect(path).width, inspect(path).height) for path in paths] == [(64, 32), (200, 100)]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_file_and_a_foreign_format_are_told_from_text(tmp_path: Path) -> None:
    contents = {
        "empty.jpg": (b"", "the file is empty"),
        "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not supported"),
    }
    for name, (content, reason) in contents.items():
        (tmp_path / name).write_bytes(content)

        with pytest.raises(UnreadableImageError, match=reason):
            inspect(tmp_path / name)


def test_a_bomb_is_refused_before_any_of_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_red(40, 30).save(tmp_path / "bomb.png")
    monkeypatch.setattr(PngImageFile, "load", None)

    with pytest.raises(UnreadableImageError, match=r"40 x 30 pixels exceed the limit of 1,199"):
        decode_rgb(tmp_path / "bomb.png", max_pixels=1199)


# --- what is stored, and what is seen ---------------------------------------------------------

LETTER_F = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0]], np.uint8) * 255
"""As seen: 4 rows, 3 columns, no symmetry."""

# The visual side of the stored row 0 and of the stored column 0, as EXIF 2.3 defines the tag.
STORED_AS = {
    1: LETTER_F,
    2: LETTER_F[:, ::-1],
    3: LETTER_F[::-1, ::-1],
    4: LETTER_F[::-1],
    5: LETTER_F.T,
    6: LETTER_F.T[::-1],
    7: LETTER_F.T[::-1, ::-1],
    8: LETTER_F.T[:, ::-1],
}


@pytest.mark.parametrize("orientation", STORED_AS)
def test_a_photo_stands_upright_however_the_camera_was_held(
    tmp_path: Path, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "f.png"
    Image.fromarray(np.ascontiguousarray(STORED_AS[orientation])).save(path, exif=exif)

    upright = decode_rgb(path)

    assert np.array_equal(upright[..., 0], LETTER_F)


OVER_WHITE = (227, 177, 127)
"""(200, 100, 0) at 128 / 255 and white at 127 / 255: 227.4, 177.2, 127.0."""


def _cmyk(path: Path) -> None:
    # ink lets through (255 - C) (255 - K) / 255: 191 * 191, 127 * 191 and 255 * 191 over 255
    Image.new("CMYK", (2, 2), (64, 128, 0, 64)).save(path.with_suffix(".tiff"))


def _rgba(path: Path) -> None:
    Image.new("RGBA", (2, 2), (200, 100, 0, 128)).save(path.with_suffix(".png"))


def _palette_with_alpha(path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 100, 0])
    image.save(path.with_suffix(".png"), transparency=bytes([255, 128]))


def _palette(path: Path) -> None:
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 200, 100, 0])
    image.save(path.with_suffix(".gif"))


def _grey_with_alpha(path: Path) -> None:
    Image.new("LA", (2, 2), (100, 128)).save(path.with_suffix(".png"))


def _one_clear_grey(path: Path) -> None:
    Image.new("L", (2, 2), 9).save(path.with_suffix(".png"), transparency=9)


def _one_clear_colour(path: Path) -> None:
    Image.new("RGB", (2, 2), (1, 2, 3)).save(path.with_suffix(".png"), transparency=(1, 2, 3))


def _bits(path: Path) -> None:
    Image.new("1", (2, 2), 1).save(path.with_suffix(".png"))


def _deep_grey(path: Path) -> None:
    Image.fromarray(np.full((2, 2), 0x80FF, np.uint16)).save(path.with_suffix(".png"))


def _deep_grey_big_endian(path: Path) -> None:
    pixels = struct.pack(">4H", *[0x80FF] * 4)
    Image.frombytes("I;16B", (2, 2), pixels).save(path.with_suffix(".tiff"))


def _deep_colour(path: Path) -> None:
    rows = (b"\0" + struct.pack(">3H", 0xC8FF, 0x6400, 0x00FF) * 2) * 2
    path.with_suffix(".png").write_bytes(_png(2, 2, bit_depth=16, colour_type=2, rows=rows))


def _png(width: int, height: int, *, bit_depth: int, colour_type: int, rows: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize(
    ("write", "rgb"),
    [
        (_cmyk, (143, 95, 191)),
        (_rgba, OVER_WHITE),
        (_palette_with_alpha, OVER_WHITE),
        (_palette, (200, 100, 0)),
        (_grey_with_alpha, (177, 177, 177)),
        (_one_clear_grey, (255, 255, 255)),
        (_one_clear_colour, (255, 255, 255)),
        (_bits, (255, 255, 255)),
        (_deep_grey, (128, 128, 128)),
        (_deep_grey_big_endian, (128, 128, 128)),
        (_deep_colour, (200, 100, 0)),
    ],
)
def test_every_kind_of_pixel_becomes_the_colour_that_is_seen(
    tmp_path: Path, write: Callable[[Path], None], rgb: tuple[int, int, int]
) -> None:
    write(tmp_path / "photo")
    (file,) = tmp_path.iterdir()

    assert np.array_equal(decode_rgb(file), np.full((2, 2, 3), rgb))
