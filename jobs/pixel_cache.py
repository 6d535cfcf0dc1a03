"""The presized pixels as files: which entries there are, when they were used, who uses them now.

Below one folder ``{key}`` is an entry, modified when it was last used; ``{key}.partial`` is one
that is being built; ``{key}.lock`` is locked for as long as somebody builds or reads either.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One list of presized photos; ``used_s`` is in seconds since 1970."""

    folder: Path
    size_bytes: int
    used_s: float


def superfluous(pixels: Path, *, most_bytes: int) -> list[Entry]:
    """The entries not used for longest without which the rest fits; those in use stay."""
    entries = sorted(_entries(pixels), key=lambda entry: (entry.used_s, entry.folder))
    excess = sum(entry.size_bytes for entry in entries) - most_bytes
    chosen = []
    for entry in entries:
        if excess <= 0:
            break
        if not is_used(entry.folder):
            excess -= entry.size_bytes
            chosen.append(entry)
    return chosen


def half_built(pixels: Path) -> list[Path]:
    """What was begun and is no longer built by anybody."""
    return [partial for partial in sorted(pixels.glob(f"*{_PARTIAL}")) if not is_used(partial)]


def is_used(folder: Path) -> bool:
    """Whether somebody builds or reads the entry at this moment."""
    with _locked(folder) as is_ours:
        return not is_ours


def remove_unless_used(folder: Path) -> bool:
    """Whether the entry is gone; whoever wants it next builds it anew."""
    with _locked(folder) as is_ours:
        if is_ours:
            shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()


def _entries(pixels: Path) -> Iterator[Entry]:
    for folder in pixels.glob("*/"):
        # an entry may go while it is looked at
        with contextlib.suppress(FileNotFoundError):
            if folder.suffix != _PARTIAL:
                sizes = [each.stat().st_size for each in folder.iterdir()]
                used_s = folder.stat().st_mtime
                yield Entry(folder=folder, size_bytes=sum(sizes), used_s=used_s)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Whether the lock was free; if so nobody else has the entry until the end."""
    with folder.with_suffix(".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
