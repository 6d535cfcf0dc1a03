"""Lists folders on the server, inside the allow-listed roots only, without opening a file."""

import os
import stat
import time
from collections.abc import Iterator, Sequence
from io import BufferedReader
from itertools import islice
from pathlib import Path

from jobs.errors import SourceForbiddenError, SourceUnreachableError

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp"),
    *(".tif", ".tiff", ".jp2", ".heic", ".heif", ".avif", ".ppm"),
)
"""Names that are taken for photos; whether they are is found out when they are decoded."""

_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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


def list_photos(folder: Path, *, most: int | None = None) -> list[str]:
    """Paths of all photos below the folder, or of so many, relative to it, with ``/``, sorted.

    Files and folders whose name begins with a dot are left out, and links to folders are not
    followed. A link to a file is listed; where it leads is looked at when it is opened
    (`open_inside`).

    Raises:
        SourceUnreachableError: the folder cannot be listed.
    """
    return sorted(islice(_walk(folder), most))


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


def open_inside(photo: Path, roots: Sequence[Path]) -> BufferedReader:
    """The listed photo, open, which after following every link is a file inside the roots.

    Whatever is put into its place meanwhile, nothing outside is opened, and no device or pipe.

    Raises:
        SourceForbiddenError: it is not.
        OSError: it may not be read.
    """
    target = _real(photo)
    root = next((root for root in roots if target.is_relative_to(root)), None)
    if root is None or not target.is_file():
        raise SourceForbiddenError(
            "the link leads to no file inside the allowed roots"
            if photo.is_symlink()
            else "it is not a regular file"
        )
    descriptor = _open_below(root, target)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SourceForbiddenError("it is not a regular file")
    return os.fdopen(descriptor, "rb")


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


def _open_below(root: Path, target: Path) -> int:
    """A descriptor of the file, reached from the root without following one link."""
    *folders, name = target.relative_to(root).parts
    where = os.open(root, _FOLDER)
    try:
        for folder in folders:
            above, where = where, os.open(folder, _FOLDER, dir_fd=where)
            os.close(above)
        # without waiting, should a pipe have taken its place
        return os.open(name, _FILE, dir_fd=where)
    finally:
        os.close(where)


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
