"""The files of one list of stored photos: their bytes, and where each lies among them.

``pixels.bin`` holds the photos one after the other, in the order in which they were stored, as raw
RGB or as JPEG. Beside it a whole entry has ``index.npy``: a row (offset, length, height, width) for
each photo. One that is being built has ``rows.bin``: such a row behind each photo's position and
before a checksum of it all, as soon as the photo's bytes are there. So whoever goes on building
finds what is whole, in whatever moment the builder before was killed.
"""

import io
import mmap
import os
import threading
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ml.images import Rgb
from ml.jpeg import MOST_PX, decoded, encoded

PIXELS_FILE = "pixels.bin"
MOST_HELD_BYTES = 16 * 2**20
"""Of a mapped file that a process has in its memory at once, views that are in use aside."""

_INDEX_FILE = "index.npy"
_ROWS_FILE = "rows.bin"

Stored = Literal["raw", "jpeg"]
"""How photos lie in the file: their pixels, or JPEGs of these (`ml.jpeg`) where they are smaller.

So bytes as long as the pixels are the pixels.
"""

Index = NDArray[np.int64]
"""One row (offset in bytes, length in bytes, height, width) for each photo."""

_Row = tuple[int, int, int, int]
_NUMBERS = 6
"""Of a row in ``rows.bin``: position, offset, length, height, width, checksum."""
_ROW_BYTES = _NUMBERS * 8


def is_whole(entry: Path, photos: int) -> bool:
    """True when the index is whole and the file has the bytes of every photo."""
    try:
        index: Index = np.load(entry / _INDEX_FILE)
        size = (entry / PIXELS_FILE).stat().st_size
    except (FileNotFoundError, ValueError, EOFError):
        return False
    return index.shape == (photos, 4) and size >= int(index[:, :2].sum(axis=1).max(initial=0))


class WholeFiles:
    """A whole entry, mapped into memory."""

    def __init__(self, entry: Path) -> None:
        self._index: Index = np.load(entry / _INDEX_FILE)
        self._map = _mapped(entry / PIXELS_FILE)
        self._handed_out_bytes = 0

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._index)

    def photo(self, position: int) -> Rgb:
        """The photo, H x W x RGB; a read-only view of the file where pixels are stored raw."""
        offset, length, height, width = (int(number) for number in self._index[position])
        self._count(length)
        data = np.frombuffer(self._map, np.uint8, length, offset)
        return _pixels(data, height, width)

    def close(self) -> None:
        """The file is unmapped once nobody has a view of it."""
        self._map = b""

    def _count(self, length: int) -> None:
        """The process holds no more of the file than a part; the system may keep all of it.

        A view of what was given up is read again from there.
        """
        self._handed_out_bytes += length
        if self._handed_out_bytes > MOST_HELD_BYTES and isinstance(self._map, mmap.mmap):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._handed_out_bytes = length


class GrowingFiles:
    """An entry that is being built, by several threads of one process.

    What an earlier builder has left in the folder counts once `adopt` has checked it.
    """

    def __init__(self, folder: Path, stored: Stored) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._stored = stored
        self._lock = threading.Lock()
        self._left = _left_rows(folder)
        self._rows: dict[int, _Row] = {}
        # unbuffered: what was written is there, even if this process is killed at once
        self._pixels = os.open(folder / PIXELS_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        self._journal = os.open(folder / _ROWS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        # half a row would put all behind it out of step
        os.ftruncate(self._journal, os.fstat(self._journal).st_size // _ROW_BYTES * _ROW_BYTES)
        ends = (offset + length for (offset, length, _, _), _ in self._left.values())
        self._end = max(ends, default=0)

    def adopt(self, position: int) -> bool:
        """Whether the photo is there already, byte for byte what an earlier builder stored."""
        found = self._left.get(position)
        if found is None:
            return False
        row, checksum = found
        if _checksum(position, row, self._read(row)) != checksum:
            return False
        self._rows[position] = row
        return True

    def add(self, position: int, image: Rgb) -> None:
        """The photo is stored.

        Raises:
            OSError: Its bytes cannot be written.
        """
        height, width = image.shape[:2]
        data = _packed(image, self._stored)
        with self._lock:
            offset, self._end = self._end, self._end + len(data)
        row = (offset, len(data), height, width)
        _write(self._pixels, data, offset)
        line = np.array([position, *row, _checksum(position, row, data)], np.int64)
        _append(self._journal, line.tobytes())
        self._rows[position] = row

    def photo(self, position: int) -> Rgb:
        """A photo that was added or adopted, H x W x RGB."""
        row = self._rows[position]
        return _pixels(np.frombuffer(self._read(row), np.uint8), *row[2:])

    def finish(self, entry: Path) -> None:
        """All photos are there: they are a whole entry now, on the disk itself.

        Raises:
            OSError: The disk does not take it.
        """
        index = np.array([self._rows[place] for place in range(len(self._rows))], np.int64)
        # straight to a file NumPy does not say why it cannot write, such as a full disk
        content = io.BytesIO()
        np.save(content, index.reshape(-1, 4))
        os.fsync(self._pixels)
        with (self._folder / _INDEX_FILE).open("wb") as file:
            file.write(content.getvalue())
            file.flush()
            os.fsync(file.fileno())
        self._folder.rename(entry)
        (entry / _ROWS_FILE).unlink()

    def close(self) -> None:
        """No photo is read or added any more."""
        os.close(self._pixels)
        os.close(self._journal)

    def _read(self, row: _Row) -> bytes:
        return os.pread(self._pixels, row[1], row[0])


def _left_rows(folder: Path) -> dict[int, tuple[_Row, int]]:
    """What an earlier builder says it has stored, by position, with its checksums."""
    try:
        written = (folder / _ROWS_FILE).read_bytes()
        size = (folder / PIXELS_FILE).stat().st_size
    except FileNotFoundError:
        return {}
    whole = np.frombuffer(written[: len(written) // _ROW_BYTES * _ROW_BYTES], np.int64)
    rows = whole.reshape(-1, _NUMBERS).tolist()
    return {
        position: ((offset, length, height, width), checksum)
        for position, offset, length, height, width, checksum in rows
        if offset >= 0 and length > 0 and offset + length <= size
    }


def _checksum(position: int, row: _Row, data: bytes | memoryview) -> int:
    return zlib.crc32(data, zlib.crc32(np.array([position, *row], np.int64).tobytes()))


def _append(file: int, line: bytes) -> None:
    if os.write(file, line) != len(line):
        raise OSError("a row was not written whole")


def _write(file: int, data: bytes | memoryview, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _mapped(path: Path) -> mmap.mmap | bytes:
    # An empty file cannot be mapped.
    if path.stat().st_size == 0:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _packed(image: Rgb, stored: Stored) -> bytes | memoryview:
    raw = np.ascontiguousarray(image).data.cast("B")
    if stored == "raw" or max(image.shape) > MOST_PX:
        return raw
    picture = encoded(image)
    return picture if len(picture) < len(raw) else raw


def _pixels(data: NDArray[np.uint8], height: int, width: int) -> Rgb:
    is_raw = data.size == height * width * 3
    return data.reshape(height, width, 3) if is_raw else decoded(data.tobytes())
