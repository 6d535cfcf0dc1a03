"""Pixels of a list of photos, made once and kept for all who want them.

``{folder}/{key}`` has the files of a whole entry (`ml.pixel_files`), ``{key}.partial`` those of one
that is being built or was left half-built: whoever wants it next goes on with it. The key is a hash
of all that decides the bytes, so an entry is never out of date. ``{key}.lock`` is locked
exclusively while an entry is built and shared while it is in use.
"""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ml.entry_lock import locked, try_lock
from ml.errors import StoppedError
from ml.images import Rgb
from ml.pixel_build import PixelBuild
from ml.pixel_files import GrowingFiles, Stored, WholeFiles, is_whole
from ml.presized_photo import presizer_name

CACHE_FORMAT = 3
PARTIAL = ".partial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What decides an entry's bytes besides its photos."""

    short_side: int
    """Of the presized photos, in pixels."""
    stored: Stored = "raw"
    drawn: tuple[str | int, ...] = ()
    """What makes something else of the presized photos, and what it was told."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How the caller follows and stops what takes long."""

    on_progress: Callable[[int, int], None]
    """Told (photos done, photos in all)."""
    should_stop: Callable[[], bool]


class Pixels:
    """Presized photos by position; views stay valid until ``close``."""

    stored: Stored = "raw"

    def __init__(self, entry: Path, lock: BinaryIO, stored: Stored) -> None:
        self._files = WholeFiles(entry)
        self._lock = lock
        self.stored = stored

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._files)

    def photo(self, position: int) -> Rgb:
        """One photo, H x W x RGB, which nobody may write to.

        Raises:
            UnreadableImageError: It, or another one, cannot be read; only while they are presized.
        """
        return self._files.photo(position)

    def complete(self, watch: Watch) -> None:
        """All photos are there.

        Raises:
            UnreadableImageError: A photo cannot be read (any more), or has another digest.
            StoppedError: ``should_stop`` said so before all were there.
        """
        watch.on_progress(len(self), len(self))

    def close(self) -> None:
        """The entry may be removed from now on."""
        self._files.close()
        self._lock.close()


class LoosePixels(Pixels):
    """Photos in memory, which nobody needs twice."""

    def __init__(self, photos: Sequence[Rgb]) -> None:
        self._photos = photos

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def photo(self, position: int) -> Rgb:
        """One photo, H x W x RGB."""
        return self._photos[position]

    def close(self) -> None:
        """Nothing is held on the disk."""


class GrowingPixels(Pixels):
    """The pixels of an entry that is built meanwhile; ``close`` leaves the rest to others."""

    def __init__(self, place: "_Place", lock: BinaryIO, source: Pixels) -> None:
        """What ``source`` has is kept; it is closed together with this."""
        self._entry = place.entry
        self._lock = lock
        self._source = source
        self._count = place.count
        self._whole: WholeFiles | None = None
        self.stored = place.form.stored
        self._growing = GrowingFiles(place.entry.with_suffix(PARTIAL), self.stored)
        if self._count == 0:
            self._keep()
        self._build = PixelBuild(
            self._growing,
            source.photo,
            place.order or range(place.count),
            count=place.count,
            threads=place.threads,
            on_whole=self._keep,
        )

    def __len__(self) -> int:
        """Number of photos."""
        return self._count

    def photo(self, position: int) -> Rgb:
        """One photo, H x W x RGB; it is made now, or waited for, if it is not there."""
        whole = self._whole
        return self._build.photo(position) if whole is None else whole.photo(position)

    def complete(self, watch: Watch) -> None:
        """As `Pixels.complete`."""
        for done in self._build.all_made():
            if watch.should_stop():
                raise StoppedError("presizing", "stop")
            watch.on_progress(done, self._count)

    def close(self) -> None:
        """Nothing is made any more; what is there is not made again by whoever goes on."""
        self._build.close()
        self._source.close()
        self._growing.close()
        if self._whole is not None:
            self._whole.close()
        self._lock.close()

    def _keep(self) -> None:
        """The entry is whole, and others may use it."""
        shutil.rmtree(self._entry, ignore_errors=True)
        self._growing.finish(self._entry)
        self._whole = WholeFiles(self._entry)
        fcntl.flock(self._lock, fcntl.LOCK_SH)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an entry is or will be, and how it is built."""

    entry: Path
    form: Form
    count: int
    threads: int
    order: Sequence[int]


def keep(  # noqa: PLR0913  # each is a plain fact that callers hold separately
    digests: Sequence[str],
    source: Callable[[], Pixels],
    *,
    folder: Path,
    form: Form,
    threads: int,
    should_stop: Callable[[], bool],
    order: Sequence[int] = (),
) -> Pixels:
    """What ``source`` has of the photos, in order: an entry, or one that is built from now on.

    Safe when several processes ask for the same entry: one builds, the others wait, and one of them
    goes on where the builder ends before its time. ``source`` is called if it is needed. ``order``
    has all positions, those first that will be asked for first.

    Raises:
        StoppedError: ``should_stop`` said so while another process was building.
    """
    entry = folder / cache_key(digests, form)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        lock = locked(entry, fcntl.LOCK_SH, should_stop)
        if is_whole(entry, len(digests)):
            os.utime(entry)
            return Pixels(entry, lock, form.stored)
        lock.close()
        lock = locked(entry, fcntl.LOCK_EX, should_stop)
        if not is_whole(entry, len(digests)):
            place = _Place(entry=entry, form=form, count=len(digests), threads=threads, order=order)
            return _growing(place, lock, source)
        lock.close()


def _growing(place: _Place, lock: BinaryIO, source: Callable[[], Pixels]) -> Pixels:
    with contextlib.ExitStack() as undo:
        undo.callback(lock.close)
        opened = undo.enter_context(contextlib.closing(source()))
        pixels = GrowingPixels(place, lock, opened)
        undo.pop_all()
    return pixels


def completed(pixels: Pixels, watch: Watch) -> Pixels:
    """The same pixels, all of which are there; they are closed where that fails.

    Raises:
        UnreadableImageError, StoppedError: As `Pixels.complete`.
    """
    try:
        pixels.complete(watch)
    except BaseException:
        pixels.close()
        raise
    return pixels


def at_once(digests: Sequence[str], *, folder: Path, form: Form) -> Pixels | None:
    """The entry's pixels; None where it is not whole, or somebody builds or removes it."""
    entry = folder / cache_key(digests, form)
    if not entry.is_dir():
        return None
    lock = entry.with_suffix(".lock").open("ab")
    if try_lock(lock, fcntl.LOCK_SH) and is_whole(entry, len(digests)):
        return Pixels(entry, lock, form.stored)
    lock.close()
    return None


def has_entry(digests: Sequence[str], *, folder: Path, form: Form) -> bool:
    """Whether `keep` would find a whole entry."""
    return is_whole(folder / cache_key(digests, form), len(digests))


def cache_key(digests: Sequence[str], form: Form) -> str:
    """Name of the entry: a hash of all that decides its bytes."""
    facts = [CACHE_FORMAT, presizer_name(), dataclasses.astuple(form), list(digests)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
