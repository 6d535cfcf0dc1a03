"""Takes in an archive as its bytes arrive: to the disk, hashed, and within the limits.

Whatever its size, no more than a megabyte of it is in memory.
"""

import hashlib
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from api.content_digest import HEADER, ContentDigest
from api.problems import Problem, at
from jobs.artifacts import Artifacts, fsync
from jobs.disk_budget import require_free
from jobs.ids import new_upload_id
from jobs.source_limits import SourceLimits
from jobs.sources.archives import FORMATS, HEAD_BYTES, Format, format_of
from jobs.uploads import Received

if TYPE_CHECKING:
    # the library has this type for checkers only
    from python_multipart.multipart import MultipartCallbacks

MULTIPART = "multipart/form-data"
FORMAT_OF_TYPE: dict[str, Format | None] = {
    "application/zip": "zip",
    "application/x-zip-compressed": "zip",
    "application/x-tar": "tar",
    "application/gzip": "tar.gz",
    "application/x-gzip": "tar.gz",
    "application/x-gtar": "tar.gz",
    "application/zstd": "tar.zst",
    "application/x-zstd": "tar.zst",
    "application/octet-stream": None,
}
"""Media types of a raw body; None where its first bytes alone tell."""

_LOOK_AT_DISK_BYTES = 64 << 20
_FILENAME_CHARACTERS = 255

T = TypeVar("T")


class Taker(Protocol):
    """Takes in a body piece by piece."""

    def feed(self, chunk: bytes) -> None:
        """The body goes on with these bytes."""
        ...

    def finish(self) -> Received:
        """The body is over; its archive is on the disk."""
        ...


class Arrival:
    """An archive that is arriving, in a file of its own; nothing is left of it after `discard`."""

    def __init__(
        self, artifacts: Artifacts, limits: SourceLimits, *, declared: Format | None = None
    ) -> None:
        folder = artifacts.uploads_folder()
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f".{new_upload_id()}.partial"
        self._file = self.path.open("xb")
        self._limits = limits
        self._declared = declared
        self._format: Format | None = None
        self._head = b""
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0
        self._unlooked_bytes = 0

    def write(self, chunk: bytes | memoryview) -> None:
        """The archive goes on with these bytes.

        Raises:
            Problem: it is no archive, or more than an upload may have.
            DiskFullError: the disk has no more room for it.
        """
        self._size_bytes += len(chunk)
        self._unlooked_bytes += len(chunk)
        if self._size_bytes > self._limits.max_upload_bytes:
            raise too_large(self._limits)
        if self._format is None:
            self._head += bytes(chunk[:HEAD_BYTES])
            if len(self._head) >= HEAD_BYTES:
                self._format = self._recognised()
        if self._unlooked_bytes >= _LOOK_AT_DISK_BYTES:
            check_disk(self.path, _LOOK_AT_DISK_BYTES, self._limits)
            self._unlooked_bytes = 0
        self._sha256.update(chunk)
        self._file.write(chunk)

    def finish(self, filename: str | None = None) -> Received:
        """The archive is whole, and on the disk.

        Raises:
            Problem: it is no archive.
        """
        self._format = self._format or self._recognised()
        self._file.close()
        fsync(self.path)
        return Received(
            filename=filename,
            format=self._format,
            digest=self._sha256.hexdigest(),
            size_bytes=self._size_bytes,
        )

    def discard(self) -> None:
        """The file is gone, unless it has become an upload's."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _recognised(self) -> Format:
        found = format_of(self._head)
        if found is None:
            begin = self._head[:8].hex(" ") or "nothing"
            detail = f"the file begins with {begin}; that is none of {', '.join(FORMATS)}"
            raise Problem("archive_invalid", detail)
        if self._declared not in {None, found}:
            detail = f"Content-Type says {self._declared}, the file begins like {found}"
            raise Problem("archive_invalid", detail)
        return found


class RawBody:
    """A body that is the archive itself."""

    def __init__(self, arrival: Arrival, digest: ContentDigest) -> None:
        self._arrival = arrival
        self._digest = digest

    def feed(self, chunk: bytes) -> None:
        """The body goes on with these bytes."""
        self._digest.update(chunk)
        self._arrival.write(chunk)

    def finish(self) -> Received:
        """The body is over and is what its digest says; the archive is on the disk."""
        self._digest.check()
        return self._arrival.finish()


class MultipartBody:
    """A form with the archive as its only field, which may have a Content-Digest of its own."""

    def __init__(self, arrival: Arrival, digest: ContentDigest, boundary: bytes) -> None:
        self._arrival = arrival
        self._digest = digest
        self._file_digest = ContentDigest({})
        self._filename: str | None = None
        self._headers: dict[str, bytes] = {}
        self._name, self._value = b"", b""
        self._files = 0
        self._is_over = False
        self._parser = _guarded(lambda: MultipartParser(boundary, self._callbacks()))

    def feed(self, chunk: bytes) -> None:
        """The form goes on with these bytes.

        Raises:
            Problem: it is no form with one file.
        """
        self._digest.update(chunk)
        _guarded(lambda: self._parser.write(chunk))

    def finish(self) -> Received:
        """The form is over and is what its digests say; the archive is on the disk."""
        if not self._is_over:
            raise _no_form("its last boundary is missing")
        if self._files != 1:
            raise _no_form("it has no file")
        self._digest.check()
        self._file_digest.check()
        return self._arrival.finish(self._filename)

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._take_name,
            "on_header_value": self._take_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._take_data,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._headers = {}

    def _take_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value
        self._name, self._value = b"", b""

    def _end_headers(self) -> None:
        kind, options = parse_options_header(self._headers.get("content-disposition"))
        if kind != b"form-data" or b"filename" not in options:
            name = options.get(b"name", b"").decode("utf-8", "replace")[:100]
            raise _no_form(f"its field {name!r} is no file; send the archive and nothing else")
        self._files += 1
        if self._files > 1:
            raise _no_form("it has two files; send each by itself")
        self._filename = _plain(options[b"filename"].decode("utf-8", "replace"))
        digest = self._headers.get(HEADER.lower())
        self._file_digest = ContentDigest.of(None if digest is None else digest.decode("latin-1"))

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        chunk = memoryview(data)[start:end]
        self._file_digest.update(chunk)
        self._arrival.write(chunk)

    def _end(self) -> None:
        self._is_over = True


def check_disk(folder: Path, needed_bytes: int, limits: SourceLimits) -> None:
    """The disk has room for so many bytes more.

    Raises:
        DiskFullError: it has not.
    """
    require_free(folder, needed_bytes, kept_free_bytes=limits.min_free_bytes)


def too_large(limits: SourceLimits) -> Problem:
    """The problem of a body beyond the limit."""
    return Problem(
        "payload_too_large",
        f"an upload may have {limits.max_upload_bytes} bytes (TUNESMITH_MAX_UPLOAD_BYTES)",
    )


def _guarded(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except FormParserError as wrong:
        raise _no_form(str(wrong)) from wrong


def _no_form(why: str) -> Problem:
    detail = f"the body is no form with one file: {why}"
    return at("", "validation_failed", detail)


def _plain(filename: str) -> str | None:
    """The client's name for the file, for people only, without folders and control characters."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    kept = "".join(each for each in name if unicodedata.category(each) not in {"Cc", "Cs", "Cf"})
    return kept[:_FILENAME_CHARACTERS] or None
