"""Files to pixels: header check, decoding, presizing, thumbnails. Arrays are H x W x RGB, uint8."""

import contextlib
import io
import os
import struct
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError, features

from ml.errors import UnreadableImageError

Rgb = NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "JPEG2000", "PPM", "AVIF")
"""What is tried; formats that start other programs (EPS) or hold no photos are not.

Multi-picture JPEG (MPO, Ultra HDR) counts as JPEG.
"""

MAX_PIXELS = 200_000_000
THUMBNAIL_SIZES = (64, 256, 512)

_ORIENTATION_TAG = 0x0112
_TRANSPOSE_OF = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_UPRIGHT_BY_PILLOW = frozenset({"TIFF"})
_SIDEWAYS = frozenset({5, 6, 7, 8})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"})

Image.init()
_SUPPORTED = tuple(name for name in FORMATS if name in Image.OPEN)

# Pillow's own limit knows no numbers in its message; ours is checked per call, before decoding.
Image.MAX_IMAGE_PIXELS = None

# Python's warning filters belong to the whole process, so headers are read one at a time.
_HEADER_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoInfo:
    """What the header of a file says; sizes are as seen, after the EXIF orientation."""

    width: int
    height: int
    format: str
    mode: str
    """Pillow's name of the stored colour mode: RGB, CMYK, P, I;16, ..."""
    orientation: int
    """EXIF orientation, 1 to 8; 1 when absent or applied by the decoder itself."""
    warnings: tuple[str, ...]
    """What Pillow complained of while reading the header."""


def decoder_name() -> str:
    """Name and versions of all that decides the bits of a decoded photo."""
    parts = [f"pillow {features.version('pil')}"]
    for library in ("libjpeg_turbo", "webp", "jpg_2000", "avif"):
        parts.append(f"{library} {features.version(library)}")
    return ", ".join(parts)


def inspect(path: Path, *, max_pixels: int = MAX_PIXELS) -> PhotoInfo:
    """What the header says; no pixel is decoded.

    Raises:
        UnreadableImageError: Not an image of a supported format, or too many pixels.
    """
    with _unreadable(path), _opened(path, max_pixels) as (_, info):
        return info


def decode_rgb(
    path: Path, *, min_short_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Rgb:
    """The first frame as seen: upright, RGB, transparency over white.

    With ``min_short_side`` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, the short side
    never falling below that many pixels (unless the photo is smaller itself).

    Raises:
        UnreadableImageError: Any failure, with a short reason.
    """
    with _unreadable(path), _opened(path, max_pixels) as (image, info):
        if min_short_side is not None:
            image.draft(None, (min_short_side, min_short_side))
        image.load()
        upright = _to_rgb(image)
        if info.orientation in _TRANSPOSE_OF:
            upright = upright.transpose(_TRANSPOSE_OF[info.orientation])
        return np.array(upright)


def decode_as_stored(path: Path, *, max_pixels: int = MAX_PIXELS) -> Rgb:
    """The first frame as fastai reads it: EXIF orientation and transparency are left aside.

    16-bit samples keep their high byte all the same, as in `decode_rgb`; fastai cuts them off.

    Raises:
        UnreadableImageError: Any failure, with a short reason.
    """
    with _unreadable(path), _opened(path, max_pixels) as (image, _):
        image.load()
        deep = image.mode == "F" or image.mode.startswith("I")
        return np.array(_to_rgb(image) if deep else image.convert("RGB"))


def presize(image: Rgb, short_side: int) -> Rgb:
    """The image with its short side at most ``short_side`` px, aspect kept; never enlarged.

    Bilinear with antialiasing, as Pillow's resize does when it shrinks.
    """
    height, width = image.shape[:2]
    if min(height, width) <= short_side:
        return image
    scale = short_side / min(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def write_thumbnails(
    image: Rgb, folder: Path, item_id: str, sizes: tuple[int, ...] = THUMBNAIL_SIZES
) -> tuple[Path, ...]:
    """One JPEG ``{item_id}-{size}.jpg`` per size exists in ``folder``, in the order of ``sizes``.

    The long side is at most the size; small photos are not enlarged.
    """
    paths = {size: folder / f"{item_id}-{size}.jpg" for size in sizes}
    picture = Image.fromarray(image)
    for size in sorted(sizes, reverse=True):
        picture.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        partial = paths[size].with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
        partial.write_bytes(buffer.getvalue())
        partial.rename(paths[size])
    return tuple(paths[size] for size in sizes)


@contextlib.contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Any failure inside becomes an UnreadableImageError; hostile bytes raise nearly anything."""
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError(path, _unidentified(path)) from error
    except Exception as error:
        raise UnreadableImageError(path, _reason(error)) from error


@contextlib.contextmanager
def _opened(path: Path, max_pixels: int) -> Iterator[tuple[Image.Image, PhotoInfo]]:
    with path.open("rb") as file:
        image, info = _read_header(path, file, max_pixels)
        with image:
            yield image, info


def _read_header(path: Path, file: BinaryIO, max_pixels: int) -> tuple[Image.Image, PhotoInfo]:
    with _HEADER_LOCK, warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("always")
        image = Image.open(file, formats=_SUPPORTED)
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImageError(
                path, f"{width} x {height} pixels exceed the limit of {max_pixels:,} pixels"
            )
        # last: to find the orientation of a PNG, Pillow decodes it
        orientation = _orientation(image)
    if orientation in _SIDEWAYS:
        width, height = height, width
    return image, PhotoInfo(
        width=width,
        height=height,
        format=image.format or "unknown",
        mode=image.mode,
        orientation=orientation,
        warnings=tuple(str(complaint.message) for complaint in complaints),
    )


def _orientation(image: Image.Image) -> int:
    if image.format in _UPRIGHT_BY_PILLOW:
        return 1
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        warnings.warn(f"EXIF cannot be read: {error}", stacklevel=2)
        return 1
    return orientation if orientation in _TRANSPOSE_OF else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no agreed range")
    if image.mode.startswith("I"):
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _to_8_bits(samples: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """16-bit samples, also when stored as 32-bit integers, keep their high byte."""
    high_bytes: NDArray[np.uint8] = (np.clip(samples, 0, 65535) >> 8).astype(np.uint8)
    return high_bytes


def _over_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


def _unidentified(path: Path) -> str:
    with path.open("rb") as file:
        begin = file.read(12)
    if not begin:
        return "the file is empty"
    if begin[4:8] == b"ftyp" and begin[8:12] in _HEIC_BRANDS:
        return "HEIC is not supported; convert it to JPEG"
    return "not an image of a format Pillow can identify"


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    text = str(error) or type(error).__name__
    if "truncated" in text.lower():
        return f"truncated ({text})"
    return f"{text[:1].lower()}{text[1:]}"
