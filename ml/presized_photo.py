"""From a photo's file to the pixels that are stored of it: checked, decoded, shrunk."""

import contextlib
import hashlib
import io
import os
import stat
from typing import BinaryIO

from ml.errors import UnreadableImageError
from ml.images import Rgb, decode_rgb, decoder_name, inspect, presize
from ml.jpeg import decoded, jpeg_coder_name
from ml.photos import LabelledPhoto

_PLAIN_MODES = frozenset({"RGB", "L"})


def presizer_name() -> str:
    """Name and versions of all that decides the bits of a presized photo."""
    return f"{decoder_name()}, {jpeg_coder_name()}"


def presized_photo(photo: LabelledPhoto, short_side: int) -> Rgb:
    """The photo, upright, its short side at most ``short_side`` px.

    Raises:
        UnreadableImageError: It cannot be read (any more), or has another digest.
    """
    with unchanged(photo) as file:
        if _is_plain(file, short_side):
            # what one decoder refuses the other may take, or know better what is wrong with
            with contextlib.suppress(ValueError):
                return presize(decoded(file.getvalue()), short_side)
        return presize(decode_rgb(file, min_short_side=short_side), short_side)


def unchanged(photo: LabelledPhoto) -> io.BytesIO:
    """The bytes of the photo's file, which have the digest that they had at the import.

    Raises:
        UnreadableImageError: They have another one, or cannot be read.
    """
    try:
        with open(photo.path, "rb", opener=_open_at_once) as file:
            _check_regular(photo, file)
            data = file.read()
    except FileNotFoundError as error:
        raise UnreadableImageError(photo.path, "there is no such file any more") from error
    except OSError as error:
        raise UnreadableImageError(photo.path, str(error.strerror)) from error
    if hashlib.sha256(data).hexdigest() != photo.digest:
        raise UnreadableImageError(photo.path, "it is not the file that was imported")
    held = io.BytesIO(data)
    held.name = str(photo.path)
    return held


def _is_plain(file: BinaryIO, short_side: int) -> bool:
    """Whether it is a JPEG that is decoded at its full size and needs nothing else.

    Half the size suffices from twice the short side on; then Pillow's scaled decoding is faster.
    """
    info = inspect(file)
    return (
        info.format == "JPEG"
        and info.mode in _PLAIN_MODES
        and info.orientation == 1
        and not info.warnings
        and min(info.width, info.height) < 2 * short_side
    )


def _check_regular(photo: LabelledPhoto, file: BinaryIO) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise UnreadableImageError(photo.path, "it is no regular file any more")


def _open_at_once(path: str, flags: int) -> int:
    # a pipe that took the photo's place would be waited for
    return os.open(path, flags | os.O_NONBLOCK)
