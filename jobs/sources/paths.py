"""Lists folders on the server, inside the allow-listed roots only, without opening a file."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobs.errors import SourceForbiddenError, SourceUnreachableError

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".jp2", ".heic", ".heif", ".avif", ".ppm"),
)
"""Names that are taken for photos; whether they are is found out when they are decoded."""

_QUICK_LOOK_S = 2.0
_QUICK_LOOK_NAMES = 50_000
_SHOWN_CHARACTERS = 200


def resolve_inside(path: str, roots: Sequence[Path]) -> Path:
    """The real path, which lies inside one of the roots after following every link.

    Raises:
        SourceForbiddenError: it does not, or there are no roots, or the path is not absolute.
        SourceUnreachableError: it lies inside but does not exist.
    """
    allowed = ", ".join(str(root) for root in roots) or (
        "none: start the service with --dataset-root or TUNESMITH_DATASET_ROOTS"
    )
    if not _is_plain(path):
        raise SourceForbiddenError(
            f"{_shown(path)} must be an absolute path without '..'; allowed roots: {allowed}"
        )
    real = _real(path)
    if not any(real.is_relative_to(root) for root in roots):
        raise SourceForbiddenError(f"{_shown(path)} is outside the allowed roots ({allowed})")
    if not os.path.exists(real):
        raise SourceUnreachableError(f"{_shown(path)} does not exist or may not be read")
    return real


def list_photos(folder: Path) -> list[str]:
    """Paths of all photos below the folder, relative to it, with ``/``, sorted.

    Files and folders whose name begins with a dot are left out, and links to folders are not
    followed. A link to a file is listed; whether it `leads_inside` is asked before it is read.

    Raises:
        SourceUnreachableError: the folder cannot be listed.
    """
    return sorted(_walk(folder))


def peek_photos(folder: Path) -> tuple[list[str], bool]:
    """As `list_photos`, but at most 2 s or 50,000 names; the flag says whether that is all.

    Raises:
        SourceUnreachableError: the folder cannot be listed.
    """
    deadline = time.monotonic() + _QUICK_LOOK_S
    names: list[str] = []
    for name in _walk(folder):
        names.append(name)
        if len(names) >= _QUICK_LOOK_NAMES or time.monotonic() > deadline:
            return sorted(names), False
    return sorted(names), True


def leads_inside(photo: Path, roots: Sequence[Path]) -> bool:
    """Whether the listed photo, after following every link, is a file inside the roots."""
    target = _real(photo)
    return os.path.isfile(target) and any(target.is_relative_to(root) for root in roots)


def printable(name: str) -> str:
    """The name itself, or, where its bytes are not UTF-8, the name with those bytes escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _shown(path: str) -> str:
    """The path for a message; of a long one the end, which tells more than the beginning."""
    return repr(path if len(path) <= _SHOWN_CHARACTERS else f"…{path[-_SHOWN_CHARACTERS:]}")


def _is_plain(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return "\0" not in path and Path(path).is_absolute() and ".." not in Path(path).parts


def _real(path: str | Path) -> Path:
    # unlike Path.resolve, realpath does not raise where a link leads to itself
    return Path(os.path.realpath(path))


def _walk(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        raise SourceUnreachableError(f"{_shown(str(folder))} is not a folder")
    for where, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(where)
        for name in files:
            if name.startswith(".") or Path(name).suffix.lower() not in IMAGE_SUFFIXES:
                continue
            yield (here / name).relative_to(folder).as_posix()


def _refuse(problem: OSError) -> None:
    raise SourceUnreachableError(
        f"{_shown(str(problem.filename))} cannot be listed: {problem.strerror}"
    )
