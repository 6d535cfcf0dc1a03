"""The process that decodes an import's photos, one after the other.

Photos are foreign bytes for large libraries written in C. What one of them does to its decoder
(a crash, an endless loop, all of the memory) ends this process, and no other.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from jobs.errors import SourceForbiddenError
from jobs.sources.paths import open_inside
from ml.errors import UnreadableImageError
from ml.fingerprint import fingerprint
from ml.images import PhotoInfo, decode, pixels_at_once, write_thumbnails

_SHORT_SIDE_PX = 512
_FEW_PIXELS = 16_000_000
_BYTES_PER_PIXEL = 32
_OTHER_BYTES = 512 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingLimits:
    """What one photo may take."""

    max_pixels: int
    max_bytes: int
    cpu_s: int

    @property
    def memory_bytes(self) -> int:
        """For the largest photo that is allowed, in the colour mode that takes most."""
        return _OTHER_BYTES + _BYTES_PER_PIXEL * self.max_pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoOrder:
    """A photo to decode: where it lies, where it may lie, and where its thumbnails go."""

    path: Path
    roots: tuple[Path, ...]
    thumbnails: Path
    item_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFacts:
    """What a photo is: all of it was read and decoded, and its thumbnails are there."""

    info: PhotoInfo
    size_bytes: int
    digest: str
    fingerprint: int | None


Answer = PhotoFacts | str | OSError
"""What a photo is, or why it cannot be used, or why that could not be written down."""


def main() -> None:
    """Orders are answered until the other end of the pipe is closed."""
    pipe = Connection(int(sys.argv[1]))
    limits = DecodingLimits(**json.loads(sys.argv[2]))
    # the first use loads a further library, which no photo's limit should pay for
    fingerprint(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
    _limit_memory(limits.memory_bytes)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            order: PhotoOrder = pipe.recv()
            _limit_time(limits.cpu_s)
            pipe.send(answer(order, limits))


def answer(order: PhotoOrder, limits: DecodingLimits) -> Answer:
    """What this photo is; its thumbnails are written if it can be used."""
    try:
        file = open_inside(order.path, order.roots)
    except SourceForbiddenError as problem:
        return str(problem)
    except OSError as problem:
        return f"it cannot be opened: {problem.strerror}"
    with file:
        try:
            return _facts(file, order, limits)
        except UnreadableImageError as problem:
            return problem.reason
        except MemoryError:
            return f"decoding it takes more than {limits.memory_bytes:,} bytes of memory"
        except OSError as problem:
            return problem


def _facts(file: BufferedReader, order: PhotoOrder, limits: DecodingLimits) -> PhotoFacts:
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes > limits.max_bytes:
        reason = f"{size_bytes:,} bytes exceed the limit of {limits.max_bytes:,} bytes"
        raise UnreadableImageError(order.path, reason)
    short_side, max_pixels = _SHORT_SIDE_PX, limits.max_pixels
    pixels = pixels_at_once(file, min_short_side=short_side, max_pixels=max_pixels)
    with _alone_if_large(order.thumbnails, pixels):
        # decoding at a reduced size still reads the file to its end
        info, image = decode(file, min_short_side=short_side, max_pixels=max_pixels)
        write_thumbnails(image, order.thumbnails, order.item_id)
    file.seek(0)
    return PhotoFacts(
        info=info,
        size_bytes=size_bytes,
        digest=hashlib.file_digest(file, "sha256").hexdigest(),
        fingerprint=fingerprint(image),
    )


@contextlib.contextmanager
def _alone_if_large(folder: Path, pixels: int) -> Iterator[None]:
    """Of the decoders that write to this folder one at a time has a large photo in memory."""
    if pixels <= _FEW_PIXELS:
        yield
        return
    # should this process die the system takes the lock back
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _limit_memory(further_bytes: int) -> None:
    """This process may take so much more than it has; what asks for more gets a MemoryError."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # only Linux tells what it has, and keeps to the limit
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + further_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_time(further_s: int) -> None:
    """SIGXCPU ends this process after so much more computing; waiting for a disk is free."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most_s = math.ceil(used.ru_utime + used.ru_stime) + further_s
    _, hard_s = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, hard_s))
