"""The presized pixels of a list of photos, decoded once and read from a memory-mapped file.

Layout: ``{folder}/{key}/pixels.bin`` holds raw RGB bytes one photo after the other, and
``index.npy`` a row (offset, height, width) for each. The key is a hash of all that decides the
bytes, so an entry is never out of date. ``{folder}/{key}.lock`` is locked exclusively while an
entry is built and shared while it is in use.
"""

import contextlib
import fcntl
import hashlib
import io
import itertools
import json
import os
import shutil
import stat
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ml.errors import StoppedError, UnreadableImageError
from ml.images import Rgb, decode_rgb, decoder_name, presize
from ml.photos import LabelledPhoto

CACHE_FORMAT = 2
LOCK_POLL_S = 0.1
PIXELS_FILE = "pixels.bin"

Index = NDArray[np.int64]
"""One row (offset in bytes, height, width) for each photo."""
Held = Callable[[str], Rgb | None]
"""The presized photo with this digest, where another entry holds it."""
Make = Callable[[LabelledPhoto], Rgb]
"""Takes a photo to its presized pixels."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How the caller follows and stops a build."""

    on_progress: Callable[[int, int], None]
    """Told (photos done, photos in all)."""
    should_stop: Callable[[], bool]


class Pixels:
    """Presized photos by position; views stay valid until ``close``."""

    def __init__(self, entry: Path, lock: BinaryIO) -> None:
        self._index: Index = np.load(entry / "index.npy")
        self._lock = lock
        self._bytes = _mapped(entry / PIXELS_FILE)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._index)

    def photo(self, position: int) -> Rgb:
        """Read-only view of one photo, H x W x RGB."""
        offset, height, width = (int(number) for number in self._index[position])
        flat = self._bytes[offset : offset + height * width * 3]
        return flat.reshape(height, width, 3)

    def close(self) -> None:
        """The entry may be removed from now on."""
        self._bytes = np.empty(0, np.uint8)
        self._lock.close()


def open_pixels(  # noqa: PLR0913  # each is a plain fact that callers hold separately
    photos: Sequence[LabelledPhoto],
    *,
    folder: Path,
    short_side: int,
    threads: int,
    on_progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    like: Callable[[], Iterable[Sequence[str]]] = tuple,
) -> Pixels:
    """The presized photos in the given order, built now unless an entry is there already.

    Safe when several processes ask for the same entry: one builds, the others wait. ``like`` tells,
    when it is built, the digests of lists whose entries may hold some of its photos: these are
    copied from the first such entry that is there.

    Raises:
        UnreadableImageError: A photo cannot be read (any more), or has another digest.
        StoppedError: ``should_stop`` said so before the entry was complete.
    """
    watch = Watch(on_progress, should_stop)
    entry = folder / cache_key([photo.digest for photo in photos], short_side)
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        lock = _locked(entry, fcntl.LOCK_SH, watch)
        if _is_complete(entry, len(photos)):
            os.utime(entry)
            on_progress(len(photos), len(photos))
            return Pixels(entry, lock)
        lock.close()
        with _locked(entry, fcntl.LOCK_EX, watch):
            if not _is_complete(entry, len(photos)):
                with _held(folder, like(), short_side) as held:
                    _build(entry, photos, partial(_presize_photo, short_side, held), threads, watch)


def has_entry(photos: Sequence[LabelledPhoto], *, folder: Path, short_side: int) -> bool:
    """Whether `open_pixels` would find these photos presized already."""
    entry = folder / cache_key([photo.digest for photo in photos], short_side)
    return _is_complete(entry, len(photos))


def cache_key(digests: Sequence[str], short_side: int) -> str:
    """Name of the entry: a hash of all that decides its bytes."""
    facts = [CACHE_FORMAT, short_side, decoder_name(), list(digests)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def _mapped(path: Path) -> NDArray[np.uint8]:
    # An empty file cannot be mapped.
    if path.stat().st_size == 0:
        return np.empty(0, np.uint8)
    return np.memmap(path, np.uint8, mode="r")


def _is_complete(entry: Path, photos: int) -> bool:
    """True when the index is whole and the pixel file as long as the index says."""
    try:
        index: Index = np.load(entry / "index.npy")
        size = (entry / PIXELS_FILE).stat().st_size
    except (FileNotFoundError, ValueError, EOFError):
        return False
    return index.shape == (photos, 3) and size == int((index[:, 1] * index[:, 2]).sum()) * 3


def _locked(entry: Path, mode: int, watch: Watch) -> BinaryIO:
    lock = entry.with_suffix(".lock").open("ab")
    try:
        while not _try_lock(lock, mode):
            if watch.should_stop():
                raise StoppedError("waiting for another process that presizes", "stop")
            time.sleep(LOCK_POLL_S)
    except BaseException:
        lock.close()
        raise
    return lock


def _try_lock(lock: BinaryIO, mode: int) -> bool:
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _held(folder: Path, like: Iterable[Sequence[str]], short_side: int) -> Iterator[Held]:
    """The photos of the first of these lists whose entry is there, by digest."""
    for digests in like:
        entry = folder / cache_key(digests, short_side)
        pixels = _at_once(entry, len(digests)) if entry.is_dir() else None
        if pixels is not None:
            with contextlib.closing(pixels):
                yield _by_digest(pixels, digests)
            return
    yield lambda _: None


def _by_digest(pixels: Pixels, digests: Sequence[str]) -> Held:
    place = {digest: position for position, digest in enumerate(digests)}
    return lambda digest: pixels.photo(place[digest]) if digest in place else None


def _at_once(entry: Path, photos: int) -> Pixels | None:
    """The entry's pixels; None where it is not whole, or somebody builds or removes it."""
    lock = entry.with_suffix(".lock").open("ab")
    if _try_lock(lock, fcntl.LOCK_SH) and _is_complete(entry, photos):
        return Pixels(entry, lock)
    lock.close()
    return None


def _build(
    entry: Path, photos: Sequence[LabelledPhoto], make: Make, threads: int, watch: Watch
) -> None:
    unfinished = entry.with_suffix(".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(entry, ignore_errors=True)
    unfinished.mkdir()
    try:
        _write(unfinished, photos, make, threads, watch)
        unfinished.rename(entry)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(
    unfinished: Path, photos: Sequence[LabelledPhoto], make: Make, threads: int, watch: Watch
) -> None:
    index = np.zeros((len(photos), 3), np.int64)
    offset = 0
    images = contextlib.closing(_presized(photos, make, threads))
    with (unfinished / PIXELS_FILE).open("wb") as file, images as ordered:
        for done, image in enumerate(ordered):
            if watch.should_stop():
                raise StoppedError("presizing", "stop")
            file.write(np.ascontiguousarray(image).data)
            index[done] = offset, image.shape[0], image.shape[1]
            offset += image.size
            watch.on_progress(done + 1, len(photos))
        _flush(file)
    # straight to a file NumPy does not say why it cannot write, such as a full disk
    content = io.BytesIO()
    np.save(content, index)
    with (unfinished / "index.npy").open("wb") as file:
        file.write(content.getvalue())
        _flush(file)


def _presized(photos: Sequence[LabelledPhoto], make: Make, threads: int) -> Generator[Rgb]:
    """The photos in order, decoded a few ahead: decoders release Python's lock."""
    waiting: deque[Future[Rgb]] = deque()
    rest = iter(photos)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="presize")
    try:
        for photo in itertools.islice(rest, threads * 4):
            waiting.append(pool.submit(make, photo))
        while waiting:
            image = waiting.popleft().result()
            for photo in itertools.islice(rest, 1):
                waiting.append(pool.submit(make, photo))
            yield image
    finally:
        pool.shutdown(cancel_futures=True)


def _presize_photo(short_side: int, held: Held, photo: LabelledPhoto) -> Rgb:
    found = held(photo.digest)
    if found is not None:
        return found
    check_unchanged(photo)
    return presize(decode_rgb(photo.path, min_short_side=short_side), short_side)


def check_unchanged(photo: LabelledPhoto) -> None:
    """The file has the digest that it had when it was imported.

    Raises:
        UnreadableImageError: It has another one, or cannot be read.
    """
    try:
        with open(photo.path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UnreadableImageError(photo.path, "it is no regular file any more")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise UnreadableImageError(photo.path, "there is no such file any more") from error
    except OSError as error:
        raise UnreadableImageError(photo.path, str(error.strerror)) from error
    if digest != photo.digest:
        raise UnreadableImageError(photo.path, "it is not the file that was imported")


def _open_at_once(path: str, flags: int) -> int:
    # a pipe that took the photo's place would be waited for
    return os.open(path, flags | os.O_NONBLOCK)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
