import io
import struct
import zlib
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
