"""Reads zip archives: the directory is looked through before the library takes it in."""

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, BinaryIO

from jobs.errors import ArchiveInvalidError, ArchiveTooLargeError
from jobs.sources.archive_member import Kind, Member, no_content
from jobs.sources.archive_names import shown

_END = struct.Struct("<4s4H2LH")
_END_MARK = b"PK\5\6"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_MARK, _LOCATOR_BYTES = b"PK\6\6", 20
_ENTRY = struct.Struct("<4s6H3L5H2L")
_ENTRY_MARK = b"PK\1\2"
_LONGEST_COMMENT = 1 << 16
_DIRECTORY_BYTES = 1 << 28
_ENCRYPTED, _UTF8 = 0x1 | 0x40 | 0x2000, 0x800
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError)


def read_zip(file: BinaryIO, *, most_members: int) -> Iterator[Member]:
    """The members in the order of their content.

    Raises:
        ArchiveInvalidError: it is no zip archive, is cut off or damaged, has entries that share
            their bytes, needs a password, or a compression that is not offered.
        ArchiveTooLargeError: it has more members than that.
    """
    _look_through(file, most_members)
    try:
        archive = zipfile.ZipFile(file)
    except (*_BROKEN, ValueError, OSError, OverflowError) as problem:
        raise _damaged(problem) from problem
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    _refuse_overlaps(entries, archive.start_dir)
    for entry in entries:
        name, kind = _name(entry), _kind(entry)
        with _Content(archive, entry, name) as content:
            yield Member(
                name=name,
                kind=kind,
                size_bytes=entry.file_size if kind == "file" else 0,
                read=content.read if kind == "file" else no_content,
            )


class _Content:
    """One member's bytes, which are asked for only if somebody wants them."""

    def __init__(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> None:
        self._archive = archive
        self._entry = entry
        self._name = name
        self._stream: IO[bytes] | None = None

    def __enter__(self) -> "_Content":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def read(self, size: int) -> bytes:
        try:
            if self._stream is None:
                self._refuse_what_is_not_read()
                self._stream = self._archive.open(self._entry)
            return self._stream.read(size)
        except (*_BROKEN, ValueError, RuntimeError) as problem:
            raise _damaged(problem, self._name) from problem

    def _refuse_what_is_not_read(self) -> None:
        if self._entry.flag_bits & _ENCRYPTED:
            raise ArchiveInvalidError(
                f"{shown(self._name)} is encrypted; make the archive without a password"
            )
        if self._entry.compress_type not in _METHODS:
            # the library would unpack other methods into memory of any size
            raise ArchiveInvalidError(
                f"{shown(self._name)} is compressed by method {self._entry.compress_type}; "
                "only deflate (8) and none (0) are read"
            )


def _look_through(file: BinaryIO, most_members: int) -> None:
    """The directory is one, and has no more entries than that."""
    begin, size = _directory(file)
    if size > _DIRECTORY_BYTES:
        raise ArchiveTooLargeError(
            f"the zip archive's directory has {size} bytes; at most {_DIRECTORY_BYTES} are read"
        )
    file.seek(begin)
    left = size
    for number in range(1, most_members + 2):
        if left <= 0:
            return
        if number > most_members:
            break
        left -= _entry_bytes(file)
    raise ArchiveTooLargeError(f"the archive has more than {most_members} members")


def _entry_bytes(file: BinaryIO) -> int:
    raw = file.read(_ENTRY.size)
    if len(raw) < _ENTRY.size or not raw.startswith(_ENTRY_MARK):
        raise ArchiveInvalidError("the zip archive is damaged: its directory is no directory")
    fields = _ENTRY.unpack(raw)
    further = int(fields[10]) + int(fields[11]) + int(fields[12])
    file.seek(further, 1)
    return _ENTRY.size + further


def _directory(file: BinaryIO) -> tuple[int, int]:
    """Where the directory begins, and its bytes."""
    end = file.seek(0, 2)
    begin_of_tail = max(0, end - _END.size - _LONGEST_COMMENT)
    file.seek(begin_of_tail)
    tail = file.read()
    place = tail.rfind(_END_MARK)
    if place < 0 or len(tail) - place < _END.size:
        raise ArchiveInvalidError(
            "the zip archive is cut off: the directory that should be at its end is missing"
        )
    size = _END.unpack_from(tail, place)[5]
    end_mark = begin_of_tail + place
    file.seek(max(0, end_mark - _LOCATOR_BYTES - _END64.size))
    wide = file.read(_END64.size)
    if wide.startswith(_END64_MARK):
        end_mark -= _LOCATOR_BYTES + _END64.size
        size = _END64.unpack(wide)[8]
    if size > end_mark:
        raise ArchiveInvalidError("the zip archive is damaged: its directory exceeds the file")
    return end_mark - size, size


def _refuse_overlaps(entries: Sequence[zipfile.ZipInfo], start_of_directory: int) -> None:
    """No two entries claim the same bytes, by which a small file could become a huge one."""
    if entries and entries[0].header_offset < 0:
        raise ArchiveInvalidError("the zip archive is damaged: an entry begins before the file")
    ends = [*(entry.header_offset for entry in entries), start_of_directory]
    for entry, end in zip(entries, ends[1:], strict=True):
        if entry.header_offset + entry.compress_size > end:
            raise ArchiveInvalidError(
                f"the zip archive's entry {shown(_name(entry))} overlaps another one"
            )


def _name(entry: zipfile.ZipInfo) -> str:
    """The name as it was packed; the library would cut it at a NUL, and keeps backslashes."""
    name = entry.orig_filename
    if not entry.flag_bits & _UTF8:
        # macOS writes UTF-8 without saying so
        try:
            name = name.encode("cp437").decode()
        except UnicodeError:
            name = entry.orig_filename
    # what Windows packs by its own tools has them between folders; no name there contains one
    return name.replace("\\", "/")


def _kind(entry: zipfile.ZipInfo) -> Kind:
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    if _name(entry).endswith("/"):
        return "folder"
    return "file" if stat.S_IFMT(mode) in {0, stat.S_IFREG} else "special"


def _damaged(problem: Exception, name: str | None = None) -> ArchiveInvalidError:
    where = "the zip archive" if name is None else shown(name)
    return ArchiveInvalidError(f"{where} is damaged: {problem or type(problem).__name__}")
