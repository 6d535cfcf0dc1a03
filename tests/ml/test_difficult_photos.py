"""Photos as they are found: each becomes the picture a person sees, or is refused by its reason."""

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ml.errors import UnreadableImageError
from ml.images import decode_as_stored, decode_rgb, inspect, pixels_at_once, presize
from tests.ml.difficult_photos import (
    COLOUR,
    COLOUR_ALPHA,
    GREY,
    GREY_ALPHA,
    PALETTE,
    chunk,
    encoded,
    jpeg_of_many_scans,
    png,
    png_with_text,
    tiff_of_huge_tile,
)

WHITE = [255, 255, 255]


def _decoded(folder: Path, content: bytes) -> list[list[list[int]]]:
    file = folder / "photo"
    file.write_bytes(content)
    pixels: list[list[list[int]]] = decode_rgb(file).tolist()
    return pixels


def _reason(folder: Path, content: bytes, name: str = "photo.jpg") -> str:
    file = folder / name
    file.write_bytes(content)
    with pytest.raises(UnreadableImageError) as caught:
        decode_rgb(file)
    return caught.value.reason


# --- orientation ------------------------------------------------------------------------------

SEEN = Image.fromarray(np.array([[250, 10, 130], [60, 190, 90]], np.uint8)).resize((48, 32), 0)
"""Six blocks of 16 x 16 pixels, no two alike: a JPEG keeps them, and none can be mistaken."""

STORED = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.T,
    6: lambda seen: seen.T[::-1],
    7: lambda seen: seen.T[::-1, ::-1],
    8: lambda seen: seen.T[:, ::-1],
}
"""How a camera stores what is seen, by the orientation that it writes down."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_photo_of_any_format_stands_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](np.asarray(SEEN))))
    # the codec of AVIF takes colour only
    stored.convert("RGB").save(tmp_path / "photo", kind, exif=exif, quality=100)

    upright = decode_rgb(tmp_path / "photo")[..., 0].astype(int)

    assert upright == pytest.approx(np.asarray(SEEN).astype(int), abs=4)
    info = inspect(tmp_path / "photo")
    assert (info.width, info.height) == SEEN.size


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation

    SEEN.save(tmp_path / "photo", "PNG", exif=exif)

    assert np.array_equal(decode_rgb(tmp_path / "photo")[..., 0], np.asarray(SEEN))


def test_the_picture_of_presizing_is_that_of_the_import(tmp_path: Path) -> None:
    """A large photo is decoded smaller for both, and to another scale."""
    exif = Image.Exif()
    exif[0x0112] = 6
    slope = np.linspace(0, 255, 1600).astype(np.uint8)
    photo = np.dstack([np.tile(slope, (1200, 1)), np.tile(slope[:1200, None], 1600), *[
        np.full((1200, 1600), 90, np.uint8)]])  # fmt: skip
    Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=95, exif=exif)
    whole = presize(decode_rgb(tmp_path / "photo.jpg"), 120)

    for short_side in (512, 240, 120):
        smaller = decode_rgb(tmp_path / "photo.jpg", min_short_side=short_side)
        shown = presize(smaller, 120).astype(int)
        assert shown.shape == (160, 120, 3)
        assert np.abs(shown - whole.astype(int)).max() <= 3


# --- colours ----------------------------------------------------------------------------------


def test_inks_of_a_jpeg_are_light_where_there_is_none_with_and_without_a_profile(
    tmp_path: Path,
) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for how in ({}, {"icc_profile": b"profile" * 100}):
        pixel = _decoded(tmp_path, encoded(cyan, "JPEG", quality=100, **how))[8][8]
        assert pixel == pytest.approx([0, 255, 255], abs=3)


def test_inks_told_as_brightness_and_colour_are_the_same_inks(tmp_path: Path) -> None:
    """YCCK is CMYK with its first three turned into luma and chroma: an Adobe marker of 2."""
    # red as JFIF tells it (Y 76, Cb 85, Cr 255), and full light for black; Pillow writes 255 less
    told = Image.new("CMYK", (16, 16), (255 - 76, 255 - 85, 255 - 255, 0))
    cmyk = encoded(told, "JPEG", quality=100)
    transform = cmyk.index(b"Adobe") + 11
    ycck = cmyk[:transform] + b"\x02" + cmyk[transform + 1 :]

    # the rest of that red is cyan, upside down as Adobe stores it: light without red
    assert _decoded(tmp_path, ycck)[8][8] == pytest.approx([0, 255, 255], abs=3)


@pytest.mark.parametrize(
    ("depth", "kind", "row", "clear", "seen"),
    [
        (1, GREY, b"\x40", None, [[0] * 3, WHITE]),
        (2, GREY, b"\x1b", None, [[0] * 3, [85] * 3, [170] * 3, WHITE]),
        (2, GREY, b"\x1b", b"\0\1", [[0] * 3, WHITE, [170] * 3, WHITE]),
        (4, GREY, b"\x37", b"\0\3", [WHITE, [119] * 3]),
        (16, GREY, b"\x12\x34\x12\xff", b"\x12\x34", [WHITE, [0x12] * 3]),
        (16, COLOUR, b"\x12\x34\x56\x78\x9a\xbc" + b"\x20\0\x30\0\x40\0",
         b"\x12\x34\x56\x78\x9a\xbc", [WHITE, [0x20, 0x30, 0x40]]),
        (16, GREY_ALPHA, b"\x64\0\0\0\xc8\0\xff\xff", None, [WHITE, [200] * 3]),
        (16, COLOUR_ALPHA, b"\1\0\2\0\3\0\0\0" + b"\xc8\0\x64\0\0\0\xff\xff", None,
         [WHITE, [200, 100, 0]]),
    ],
)  # fmt: skip
def test_each_kind_of_png_is_seen_as_its_header_means_it(
    tmp_path: Path, depth: int, kind: int, row: bytes, clear: bytes | None, seen: list[list[int]]
) -> None:
    before = b"" if clear is None else chunk(b"tRNS", clear)
    content = png(len(seen), 1, depth=depth, kind=kind, rows=b"\0" + row, before=before)

    assert _decoded(tmp_path, content) == [seen]


def test_a_clear_colour_is_a_colour_like_others_to_the_peer(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">2H", 0x1234, 0x5678)
    (tmp_path / "photo").write_bytes(
        png(2, 1, depth=16, rows=rows, before=chunk(b"tRNS", b"\x12\x34"))
    )

    assert decode_as_stored(tmp_path / "photo").tolist() == [[[0x12] * 3, [0x56] * 3]]


def test_an_interlaced_png_is_whole(tmp_path: Path) -> None:
    """Seven passes over 8 x 8 pixels, written by hand: Pillow writes none."""
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
              (1, 0, 2, 1))  # fmt: skip
    rows = b"".join(
        b"\0" + row.tobytes()
        for top, left, down, right in passes
        for row in picture[top::down, left::right]
    )
    content = bytearray(png(8, 8, rows=rows))
    header = struct.pack(">IIBBBBB", 8, 8, 8, GREY, 0, 0, 1)
    content[8 : 8 + 25] = chunk(b"IHDR", header)

    assert np.array_equal(np.array(_decoded(tmp_path, bytes(content)))[..., 0], picture)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_of_several_pictures_the_first_is_seen(tmp_path: Path, kind: str) -> None:
    first, second = Image.new("RGB", (16, 16), (0, 0, 255)), Image.new("RGB", (16, 16), "red")
    moving = encoded(first, kind, save_all=True, append_images=[second])

    assert _decoded(tmp_path, moving)[8][8] == pytest.approx([0, 0, 255], abs=3)


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_a_tiff_of_any_compression_is_read(tmp_path: Path, compression: str) -> None:
    content = encoded(Image.new("RGB", (16, 16), (10, 200, 30)), "TIFF", compression=compression)

    assert _decoded(tmp_path, content)[8][8] == pytest.approx([10, 200, 30], abs=3)


# --- what is beside the picture ---------------------------------------------------------------


def test_the_content_decides_whatever_the_name_and_what_follows_it(tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(encoded(SEEN, "JPEG", quality=100) + b"garbage" * 1000)

    assert inspect(file).format == "JPEG"
    assert decode_rgb(file).shape == (32, 48, 3)


def test_large_profiles_comments_and_histories_do_not_matter(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    jpeg = encoded(SEEN, "JPEG", exif=exif, icc_profile=b"p" * 5_000_000, comment=b"c" * 65_000)
    history = PngImagePlugin.PngInfo()
    history.add_itxt("XML:com.adobe.xmp", "h" * 5_000_000, zip=True)

    assert len(jpeg) > 5_000_000
    for content in (jpeg, encoded(SEEN, "PNG", pnginfo=history)):
        assert np.array(_decoded(tmp_path, content)).shape == (32, 48, 3)


@pytest.mark.parametrize("name", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_that_unpacks_without_end_is_refused(tmp_path: Path, name: bytes) -> None:
    content = png_with_text(name, 100_000_000)

    assert len(content) < 200_000
    assert "as that of a bomb" in _reason(tmp_path, content)
    assert _decoded(tmp_path, png_with_text(name, 2_000_000)) == [[WHITE]]


def test_many_texts_that_are_each_small_enough_are_refused_together(tmp_path: Path) -> None:
    text = chunk(b"zTXt", b"key\0\0" + zlib.compress(b"a" * 15_000_000, 9))

    reason = _reason(tmp_path, png(1, 1, rows=b"\0\xff", before=text * 10))

    assert "as that of a bomb" in reason


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "AVIF"])
def test_a_file_cut_off_anywhere_is_refused_as_damaged(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind)

    for share in (0.03, 0.1, 0.3, 0.5, 0.9, 0.98):
        reason = _reason(tmp_path, whole[: int(len(whole) * share)])
        assert any(word in reason for word in ("truncated", "cut off", "broken data")), reason


@pytest.mark.parametrize(("rows", "row"), [(10, 10), (50, 10), (10, 100)])
def test_a_header_that_claims_another_size_than_the_rows_have_is_refused(
    tmp_path: Path, rows: int, row: int
) -> None:
    """Pillow decodes it for its EXIF, and would then take the black below for pixels."""
    reason = _reason(tmp_path, png(50, 50, rows=(b"\0" + bytes([128] * row)) * rows))

    assert "data stream" in reason or "truncated" in reason


def test_every_byte_of_a_photo_may_be_wrong(tmp_path: Path) -> None:
    """Whatever a flipped byte makes of it: a picture or a reason, nothing else."""
    readable = 0
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"):
        whole = encoded(SEEN.convert("RGB"), kind)
        for place in range(0, len(whole), max(1, len(whole) // 60)):
            file = tmp_path / "photo"
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            with contextlib.suppress(UnreadableImageError):
                readable += decode_rgb(file, max_pixels=1_000_000).ndim == 3
    assert readable > 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (bytes(5000), "zeros only"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html><body>404", "a web page"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"PK\3\4" + bytes(40), "a zip archive"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "a film"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC is not supported"),
        (b"\xff\x0a" + bytes(40), "JPEG XL"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"RIFF\x10\0\0\0WEBP", "begins like a WebP"),
        (b"\xff\xd8\xff", "begins like a JPEG"),
        (b"Dear Sir or Madam", "not an image"),
    ],
)
def test_what_is_no_photo_is_called_what_it_is(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in _reason(tmp_path, content)


def test_an_icon_is_no_photo(tmp_path: Path) -> None:
    assert _reason(tmp_path, encoded(SEEN, "ICO")) == "it is an icon"


def test_a_reason_never_tells_where_a_file_lies(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").mkdir()

    with pytest.raises(UnreadableImageError) as caught:
        decode_rgb(tmp_path / "photo.jpg")

    assert caught.value.reason == "is a directory"


# --- size -------------------------------------------------------------------------------------


def test_the_header_tells_how_many_pixels_decoding_holds(tmp_path: Path) -> None:
    photo = Image.new("RGB", (1600, 1200))
    photo.save(tmp_path / "photo.jpg")
    photo.save(tmp_path / "photo.png")

    assert pixels_at_once(tmp_path / "photo.jpg") == 1600 * 1200
    assert pixels_at_once(tmp_path / "photo.jpg", min_short_side=300) == 400 * 300
    assert pixels_at_once(tmp_path / "photo.png", min_short_side=300) == 1600 * 1200


def test_a_palette_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    content = png(60_000, 60_000, depth=1, kind=PALETTE, rows=b"", before=chunk(b"PLTE", bytes(3)))

    assert "exceed the limit" in _reason(tmp_path, content)


def test_a_jpeg_of_some_more_scans_than_usual_is_a_photo(tmp_path: Path) -> None:
    assert _decoded(tmp_path, jpeg_of_many_scans(64, scans=20))[9][9] == [128] * 3


def test_a_tile_larger_than_its_photo_is_damage(tmp_path: Path) -> None:
    assert "damaged" in _reason(tmp_path, tiff_of_huge_tile(2000))
