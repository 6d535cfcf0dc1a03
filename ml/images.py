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
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError, features

from ml.colours import scale_clear_colour, to_rgb
from ml.errors import UnreadableImageError
from ml.signatures import unreadable_reason

Rgb = NDArray[np.uint8]

Photo = Path | BinaryIO
"""A file by its path, or open; then its beginning is gone to, and it stays open."""

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
_DECODED_FOR_EXIF = frozenset({"PNG"})
_TEXT_BYTES = 16 * 1024**2
_PLAIN = {
    "could not create decoder object": "damaged or cut off",
    "decoder error -2": "damaged: its pixels cannot be decoded",
    "decoder error -9": "decoding it takes more memory than there is",
}
"""What some of Pillow's messages mean."""

Image.init()
_SUPPORTED = tuple(name for name in FORMATS if name in Image.OPEN)

# Pillow's own limit knows no numbers in its message; ours is checked per call, before decoding.
Image.MAX_IMAGE_PIXELS = None

# Image editors write a history of some megabytes beside the picture; Pillow would refuse all of it.
PngImagePlugin.MAX_TEXT_CHUNK = _TEXT_BYTES

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


def inspect(photo: Photo, *, max_pixels: int = MAX_PIXELS) -> PhotoInfo:
    """What the header says; pixels are decoded of a PNG only, whose EXIF may lie behind them.

    Raises:
        UnreadableImageError: Not an image of a supported format, or too many pixels.
    """
    with _opened(photo, max_pixels) as (image, complaints):
        return _info(image, complaints)


def pixels_at_once(
    photo: Photo, *, min_short_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> int:
    """How many pixels `decode` would hold, as the header tells; none is decoded.

    Raises:
        UnreadableImageError: Not an image of a supported format, or too many pixels.
    """
    with _opened(photo, max_pixels) as (image, _):
        _allow_smaller(image, min_short_side)
        return image.width * image.height


def decode(
    photo: Photo, *, min_short_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[PhotoInfo, Rgb]:
    """What the header says, and the first frame as seen: upright, RGB, transparency over white.

    With ``min_short_side`` a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, the short side
    never falling below that many pixels (unless the photo is smaller itself).

    Raises:
        UnreadableImageError: Any failure, with a short reason.
    """
    with _opened(photo, max_pixels) as (image, complaints):
        info = _info(image, complaints)
        _allow_smaller(image, min_short_side)
        image.load()
        upright = to_rgb(image)
        if info.orientation in _TRANSPOSE_OF:
            upright = upright.transpose(_TRANSPOSE_OF[info.orientation])
        return info, np.array(upright)


def decode_rgb(
    photo: Photo, *, min_short_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Rgb:
    """The pixels of `decode`."""
    return decode(photo, min_short_side=min_short_side, max_pixels=max_pixels)[1]


def decode_as_stored(photo: Photo, *, max_pixels: int = MAX_PIXELS) -> Rgb:
    """The first frame as fastai reads it: EXIF orientation and transparency are left aside.

    16-bit samples keep their high byte all the same, as in `decode_rgb`; fastai cuts them off.

    Raises:
        UnreadableImageError: Any failure, with a short reason.
    """
    with _opened(photo, max_pixels) as (image, _):
        image.load()
        image.info.pop("transparency", None)
        deep = image.mode == "F" or image.mode.startswith("I")
        return np.array(to_rgb(image) if deep else image.convert("RGB"))


def presize(image: Rgb, short_side: int) -> Rgb:
    """The image with its short side at most ``short_side`` px, aspect kept; never enlarged.

    Bilinear with antialiasing, as Pillow's resize does when it shrinks.
    """
    height, width = image.shape[:2]
    size = presized_size((width, height), short_side)
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def presized_size(size_wh: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Width and height of a photo of that size once it is presized."""
    width, height = size_wh
    if min(height, width) <= short_side:
        return size_wh
    scale = short_side / min(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


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
def _opened(photo: Photo, max_pixels: int) -> Iterator[tuple[Image.Image, list[str]]]:
    """The image, of which the header is read, and what Pillow complained of meanwhile."""
    path = photo if isinstance(photo, Path) else Path(str(photo.name))
    complaints: list[str] = []
    with _unreadable(path), _file_of(photo) as file:
        try:
            with _noting(complaints):
                image = Image.open(file, formats=_SUPPORTED)
        except UnidentifiedImageError as error:
            raise UnreadableImageError(path, unreadable_reason(file)) from error
        with image:
            if image.width * image.height > max_pixels:
                raise UnreadableImageError(
                    path,
                    f"{image.width} x {image.height} pixels exceed the limit of "
                    f"{max_pixels:,} pixels",
                )
            scale_clear_colour(image)
            yield image, complaints


@contextlib.contextmanager
def _unreadable(path: Path) -> Iterator[None]:
    """Any failure inside becomes an UnreadableImageError; hostile bytes raise nearly anything."""
    try:
        yield
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImageError(path, _reason(error)) from error


@contextlib.contextmanager
def _file_of(photo: Photo) -> Iterator[BinaryIO]:
    if isinstance(photo, Path):
        with photo.open("rb") as file:
            yield file
    else:
        photo.seek(0)
        yield photo


@contextlib.contextmanager
def _noting(complaints: list[str]) -> Iterator[None]:
    """Warnings of the code inside are added to the complaints."""
    with _HEADER_LOCK, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
        complaints += [str(each.message) for each in caught]


def _info(image: Image.Image, complaints: list[str]) -> PhotoInfo:
    mode, width, height = image.mode, image.width, image.height
    if image.format in _DECODED_FOR_EXIF:
        # here, so that pixels which cannot be decoded are not taken for a fault of the EXIF
        image.load()
    with _noting(complaints):
        orientation = _orientation(image)
    if orientation in _SIDEWAYS:
        width, height = height, width
    return PhotoInfo(
        width=width,
        height=height,
        format=image.format or "unknown",
        mode=mode,
        orientation=orientation,
        warnings=tuple(complaints),
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


def _allow_smaller(image: Image.Image, min_short_side: int | None) -> None:
    if min_short_side is not None:
        image.draft(None, (min_short_side, min_short_side))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, OSError) and error.strerror:
        # its whole text would tell where the file lies
        return f"{error.strerror[:1].lower()}{error.strerror[1:]}"
    text = str(error) or type(error).__name__
    if "MAX_TEXT" in text:
        return "its text unpacks to far more than a photo's, as that of a bomb does"
    if text in _PLAIN:
        return _PLAIN[text]
    if "truncated" in text.lower():
        return f"truncated ({text})"
    return f"{text[:1].lower()}{text[1:]}"
