"""Names inside archives: which ones nobody should write, which ones are photos, what they share.

An archive with a name that leads out of its folder, or that a person cannot see for what it is, is
broken or hostile: it is refused as a whole.
"""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Literal

from jobs.errors import ArchiveInvalidError
from jobs.sources.paths import IMAGE_SUFFIXES

Worth = Literal["photo", "label_file", "hidden", "not_a_photo"]

_NAME_BYTES = 255
_PATH_BYTES = 1024
_SHOWN_CHARACTERS = 200
_MACOS = "__MACOSX"
_PARTS = frozenset(
    {
        *("train", "training", "valid", "validation", "val", "dev"),
        *("test", "testing", "eval", "evaluation"),
    }
)


def checked_name(raw: str) -> str:
    """The member's path, with ``/``, without a leading ``./`` and without a last ``/``.

    It is empty for the archive's own top folder. Bytes that are no UTF-8 are kept as surrogates.

    Raises:
        ArchiveInvalidError: the name is absolute, has a drive letter, ``..``, a backslash or a
            control character, or is longer than file systems allow.
    """
    if raw.startswith("/"):
        raise _refused(raw, "is absolute")
    if len(raw) > 1 and raw[1] == ":" and raw[0].isascii() and raw[0].isalpha():
        raise _refused(raw, "begins with a drive letter")
    if "\\" in raw:
        raise _refused(raw, "has a backslash; folders are separated by /")
    if any(unicodedata.category(character) == "Cc" for character in raw):
        raise _refused(raw, "has a control character")
    parts = [part for part in raw.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise _refused(raw, "leads upwards by ..")
    if any(len(os.fsencode(part)) > _NAME_BYTES for part in parts):
        raise _refused(raw, f"is longer than {_NAME_BYTES} bytes between two /")
    name = "/".join(parts)
    if len(os.fsencode(name)) > _PATH_BYTES:
        raise _refused(raw, f"is longer than {_PATH_BYTES} bytes")
    return name


def worth_of(name: str, label_files: frozenset[str] = frozenset()) -> Worth:
    """Whether the checked name is taken for a photo, by the rule that folders are listed by.

    ``label_files`` are the last parts of names that are taken for files of labels.
    """
    path = PurePosixPath(name)
    if any(part.startswith(".") or part == _MACOS for part in path.parts):
        return "hidden"
    if path.name in label_files:
        return "label_file"
    return "photo" if path.suffix.lower() in IMAGE_SUFFIXES else "not_a_photo"


def wrapper_of(names: Iterable[str]) -> str:
    """The folders that all these photos lie in, as a path, or an empty one.

    Whoever packs a folder gets its name in front of every path, and means the same photos. A folder
    that names a part of the split is never one that wraps.
    """
    shared: list[str] | None = None
    for name in names:
        folders = name.split("/")[:-1]
        if shared is None:
            shared = folders
        pairs = zip(shared, folders, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(shared), len(folders)))
        shared = shared[:same]
    wrapping = shared or []
    first_part = next((i for i, each in enumerate(wrapping) if each in _PARTS), len(wrapping))
    return "/".join(wrapping[:first_part])


def shown(raw: str) -> str:
    """The name for a message: quoted, escaped, and of a long one the end."""
    printable = os.fsencode(raw).decode("utf-8", "backslashreplace")
    cut = f"…{printable[-_SHOWN_CHARACTERS:]}" if len(raw) > _SHOWN_CHARACTERS else printable
    return repr(cut)


def _refused(raw: str, why: str) -> ArchiveInvalidError:
    return ArchiveInvalidError(f"the archive has the member {shown(raw)}, whose name {why}")
