"""Opens archives of every kind that can be sent, within limits; nothing is written here.

What is read is counted as it comes out, whatever the archive says of itself, and inner archives are
not opened.
"""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Literal, get_args

import zstandard

from jobs.errors import ArchiveInvalidError, ArchiveTooLargeError
from jobs.source_limits import SourceLimits
from jobs.sources.archive_member import Member, Readable
from jobs.sources.archive_names import checked_name, worth_of, wrapper_of
from jobs.sources.tar_archive import BLOCK_BYTES, looks_like_tar, read_tar
from jobs.sources.zip_archive import read_zip

Format = Literal["zip", "tar", "tar.gz", "tar.zst"]

HEAD_BYTES = BLOCK_BYTES
"""How much of a file tells what it is."""
FORMATS: tuple[Format, ...] = get_args(Format)

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"PK\3\4", "zip"),
    (b"PK\5\6", "zip"),
    (b"\x1f\x8b\x08", "tar.gz"),
    (b"\x28\xb5\x2f\xfd", "tar.zst"),
)
_WINDOW_BYTES = 1 << 27
"""The largest window that the zstd command opens without being asked to."""
_SMALL_BYTES = 64 << 20
_QUICK_LOOK_S = 2.0
_QUICK_LOOK_NAMES = 50_000
_QUICK_LOOK_BYTES = 8 << 20
_CHUNK_BYTES = 1 << 20
_BROKEN = (zlib.error, BadGzipFile, EOFError, zstandard.ZstdError)


def format_of(head: bytes) -> Format | None:
    """What kind of archive begins with these `HEAD_BYTES`, or fewer if it has no more."""
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    return "tar" if looks_like_tar(head) else None


def format_in(file: Path) -> Format:
    """What kind of archive the file is.

    Raises:
        ArchiveInvalidError: it is none.
    """
    with file.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
    found = format_of(head)
    if found is None:
        begin = repr(head[:40].decode("ascii", "replace")) if head else "nothing"
        raise ArchiveInvalidError(f"it begins with {begin}; that is none of {', '.join(FORMATS)}")
    return found


class Archive:
    """An open archive; members are read once, in the order of their bytes."""

    def __init__(self, file: BinaryIO, size_bytes: int, limits: SourceLimits) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._limits = limits
        self._unpacked_bytes = 0

    @property
    def fraction(self) -> float:
        """The share of the file that was read, 0 to 1."""
        return min(1.0, self._file.tell() / max(1, self._size_bytes))

    def members(self) -> Iterator[Member]:
        """All members, their names checked, as many and as large as the limits allow.

        Raises:
            ArchiveInvalidError: it is damaged or hostile; no member of it should be kept.
            ArchiveTooLargeError: it is more than the limits allow.
        """
        for number, member in enumerate(self._raw_members(), start=1):
            if number > self._limits.max_archive_members:
                most = self._limits.max_archive_members
                raise ArchiveTooLargeError(f"the archive has more than {most} members")
            yield Member(
                name=checked_name(member.name),
                kind=member.kind,
                size_bytes=member.size_bytes,
                read=member.read,
            )

    def _raw_members(self) -> Iterator[Member]:
        head = self._file.read(HEAD_BYTES)
        self._file.seek(0)
        kind = format_of(head)
        if kind is None:
            raise ArchiveInvalidError(f"the file is none of {', '.join(FORMATS)}")
        if kind == "zip":
            for member in read_zip(self._file, most_members=self._limits.max_archive_members):
                yield self._metered(member)
        else:
            yield from read_tar(_Metered(self, _unpacked(self._file, kind)))

    def _metered(self, member: Member) -> Member:
        def read(size: int) -> bytes:
            chunk = member.read(size)
            self.count(len(chunk))
            return chunk

        return Member(name=member.name, kind=member.kind, size_bytes=member.size_bytes, read=read)

    def count(self, unpacked_bytes: int) -> None:
        """So many more bytes have come out.

        Raises:
            ArchiveTooLargeError: they are more than the limits allow.
        """
        self._unpacked_bytes += unpacked_bytes
        limits = self._limits
        if self._unpacked_bytes > limits.max_unpacked_bytes:
            raise ArchiveTooLargeError(
                f"the archive unpacks to more than {limits.max_unpacked_bytes} bytes"
            )
        most = max(_SMALL_BYTES, limits.max_archive_ratio * self._size_bytes)
        if self._unpacked_bytes > most:
            raise ArchiveTooLargeError(
                f"the archive of {self._size_bytes} bytes unpacks to more than "
                f"{limits.max_archive_ratio:g} times its size"
            )


class _Metered:
    """A stream whose errors are the archive's, and whose bytes are counted."""

    def __init__(self, archive: Archive, stream: Readable) -> None:
        self._archive = archive
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        try:
            chunk = self._stream.read(size)
        except _BROKEN as problem:
            raise ArchiveInvalidError(f"the archive is damaged: {problem}") from problem
        self._archive.count(len(chunk))
        return chunk


def _unpacked(file: BinaryIO, kind: Format) -> Readable:
    if kind == "tar.gz":
        return GzipFile(fileobj=file, mode="rb")
    if kind == "tar.zst":
        unpacker = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        return unpacker.stream_reader(file, read_across_frames=True, closefd=False)
    return file


@contextmanager
def opened(path: Path, limits: SourceLimits) -> Iterator[Archive]:
    """The archive in the file.

    Raises:
        FileNotFoundError: there is no such file.
    """
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        yield Archive(file, path.stat().st_size, limits)


@dataclass(frozen=True, slots=True)
class Peek:
    """The photos' names as an import would list them, and whether they are all.

    Names that are not all are no use for a rule that looks at folders: which ones wrap everything
    is not known yet, and none is taken off. ``label_files`` are those that were asked for, whole.
    """

    names: list[str]
    is_complete: bool
    label_files: Mapping[str, bytes]


def peek_photos(
    path: Path, limits: SourceLimits, *, label_files: frozenset[str] = frozenset()
) -> Peek:
    """What the archive holds, as far as at most 2 s, 50,000 names and 8 MiB of label files tell.

    Raises:
        ArchiveInvalidError, ArchiveTooLargeError: the archive cannot be used.
    """
    deadline_s = monotonic() + _QUICK_LOOK_S
    names: list[str] = []
    files: dict[str, bytes] = {}
    left_bytes = _QUICK_LOOK_BYTES
    with opened(path, limits) as archive:
        for member in archive.members():
            worth = worth_of(member.name, label_files) if member.kind == "file" else member.kind
            if worth == "photo":
                names.append(member.name)
            elif worth == "label_file":
                files[member.name] = _content(member, left_bytes)
                left_bytes -= len(files[member.name])
            if len(names) >= _QUICK_LOOK_NAMES or monotonic() > deadline_s or left_bytes < 0:
                return Peek(sorted(names), False, {})
    skipped = len(wrapper_of([*names, *files]))
    return Peek(
        sorted(_without(name, skipped) for name in names),
        True,
        {_without(name, skipped): content for name, content in files.items()},
    )


def _content(member: Member, most_bytes: int) -> bytes:
    """The member's bytes; of more than so many some more than that."""
    content = bytearray()
    while len(content) <= most_bytes and (chunk := member.read(_CHUNK_BYTES)):
        content += chunk
    return bytes(content)


def _without(name: str, skipped: int) -> str:
    return name[skipped:].lstrip("/")
