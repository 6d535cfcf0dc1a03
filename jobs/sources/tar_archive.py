"""Reads tar archives forward, in memory that no header can make large.

The standard library's reader takes in extended headers of any size at once. Formats: POSIX ustar
and pax (IEEE Std 1003.1-2017, `pax`), and GNU's long names. What an ordinary folder of photos
never needs is refused: sparse files, archives of several volumes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from jobs.errors import ArchiveInvalidError
from jobs.sources.archive_member import Kind, Member, Readable, no_content
from jobs.sources.archive_names import shown

BLOCK_BYTES = 512
_HEADER_BYTES = 1 << 20
"""An extended header holds names; GNU tar writes none beyond a few thousand bytes."""
_CHUNK_BYTES = 1 << 16
_KIND_OF: Mapping[bytes, Kind] = {
    **dict.fromkeys((b"0", b"\0", b"7"), "file"),
    **dict.fromkeys((b"1", b"2"), "link"),
    b"5": "folder",
}
_WITHOUT_CONTENT = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_SPARSE = b"GNU.sparse."
_USED_KEYS = frozenset({b"path", b"size"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    name: str
    size_bytes: int
    type: bytes


def looks_like_tar(head: bytes) -> bool:
    """Whether the first 512 bytes are a tar header, or the end of an archive without members."""
    block = head[:BLOCK_BYTES]
    return len(block) == BLOCK_BYTES and (not any(block) or _has_its_checksum(block))


def read_tar(stream: Readable) -> Iterator[Member]:
    """The members in their order; a header that only lengthens another is none.

    Raises:
        ArchiveInvalidError: it is no tar archive, is cut off or damaged, or needs what is refused.
    """
    extended: dict[str, str] = {}
    while (block := _block(stream)) is not None:
        header = _header(block)
        if header.type in {b"x", b"g", b"L", b"K"}:
            extended |= _extension(stream, header)
            continue
        header = _extended(header, extended)
        extended = {}
        content = _Content(stream, header)
        kind = _kind(header)
        yield Member(
            name=header.name,
            kind=kind,
            size_bytes=header.size_bytes if kind == "file" else 0,
            read=content.read if kind == "file" else no_content,
        )
        content.skip()
    # a compressed archive's own checksum lies behind its end
    while stream.read(_CHUNK_BYTES):
        pass


class _Content:
    """What lies between a header and the next one."""

    def __init__(self, stream: Readable, header: _Header) -> None:
        self._stream = stream
        self._name = header.name
        self._left = 0 if header.type in _WITHOUT_CONTENT else header.size_bytes
        self._padding = -self._left % BLOCK_BYTES

    def read(self, size: int) -> bytes:
        if not self._left:
            return b""
        chunk = self._stream.read(min(size, self._left))
        if not chunk:
            raise ArchiveInvalidError(f"the archive is cut off within {shown(self._name)}")
        self._left -= len(chunk)
        return chunk

    def skip(self) -> None:
        while self.read(_CHUNK_BYTES):
            pass
        self._left, self._padding = self._padding, 0
        while self.read(_CHUNK_BYTES):
            pass


def _block(stream: Readable) -> bytes | None:
    """The next header; None at the mark that ends an archive."""
    block = _exactly(stream, BLOCK_BYTES)
    if len(block) < BLOCK_BYTES:
        raise ArchiveInvalidError("the archive is cut off: the mark of its end is missing")
    if not any(block):
        return None
    if not _has_its_checksum(block):
        raise ArchiveInvalidError("the archive is damaged: what should be a tar header is none")
    return block


def _exactly(stream: Readable, size: int) -> bytes:
    parts = []
    while size and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _has_its_checksum(block: bytes) -> bool:
    blanked = block[:148] + b" " * 8 + block[156:]
    total = sum(blanked)
    # very old writers added the bytes up as signed numbers
    signed = total - 256 * sum(map((127).__lt__, blanked))
    try:
        return _number(block[148:156]) in {total, signed}
    except ArchiveInvalidError:
        return False


def _header(block: bytes) -> _Header:
    name = _text(block[:100])
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    return _Header(
        name=f"{prefix}/{name}" if prefix else name,
        size_bytes=_number(block[124:136]),
        type=block[156:157],
    )


def _kind(header: _Header) -> Kind:
    if header.type == b"S":
        raise _sparse(header.name)
    if header.type == b"M":
        raise ArchiveInvalidError("the archive continues another volume; send it in one piece")
    if header.type in {b"0", b"\0"} and header.name.endswith("/"):
        return "folder"
    return _KIND_OF.get(header.type, "special")


def _extension(stream: Readable, header: _Header) -> dict[str, str]:
    """What an extended header says of the member behind it."""
    if header.size_bytes > _HEADER_BYTES:
        raise ArchiveInvalidError(
            f"the archive has a header of {header.size_bytes} bytes; "
            f"{_HEADER_BYTES} are more than any name needs"
        )
    padded = header.size_bytes + -header.size_bytes % BLOCK_BYTES
    content = _exactly(stream, padded)
    if len(content) < padded:
        raise ArchiveInvalidError("the archive is cut off within a header")
    content = content[: header.size_bytes]
    if header.type == b"L":
        return {"path": _text(content)}
    # what a global header says of all members is neither name nor size
    return dict(_records(content)) if header.type == b"x" else {}


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    """The pax records that count here, each ``length key=value newline``."""
    place = 0
    while place < len(content):
        length_text, space, _ = content[place : place + 16].partition(b" ")
        length = int(length_text) if length_text.isdigit() else 0
        record = content[place + len(length_text) + 1 : place + length]
        key, equals, value = record.partition(b"=")
        if not (space and equals and value.endswith(b"\n") and place + length <= len(content)):
            raise ArchiveInvalidError("the archive has a damaged pax header")
        if key in _USED_KEYS or key.startswith(_SPARSE):
            yield key[: len(_SPARSE)].decode(), _decoded(value[:-1])
        place += length


def _extended(header: _Header, records: Mapping[str, str]) -> _Header:
    name = records.get("path", header.name)
    if _SPARSE.decode() in records:
        raise _sparse(name)
    size = records.get("size", str(header.size_bytes))
    if not (size.isascii() and size.isdigit() and len(size) < 19):
        raise ArchiveInvalidError(f"the size of {shown(name)} is no number")
    return _Header(name=name, size_bytes=int(size), type=header.type)


def _sparse(name: str) -> ArchiveInvalidError:
    return ArchiveInvalidError(
        f"the archive holds {shown(name)} as a sparse file; make it without --sparse"
    )


def _number(field: bytes) -> int:
    """A number in octal digits, or in binary where its first bit is set."""
    if field[0] == 0x80:
        value = int.from_bytes(field[1:], "big")
        if value < 1 << 62:
            return value
    else:
        digits = field.split(b"\0")[0].strip(b" ")
        if not digits.strip(b"01234567"):
            return int(digits or b"0", 8)
    raise ArchiveInvalidError("the archive is damaged: a number in a tar header is none")


def _text(field: bytes) -> str:
    return _decoded(field.split(b"\0")[0])


def _decoded(raw: bytes) -> str:
    # surrogates stand for bytes that are no UTF-8, as in names that the system lists
    return raw.decode("utf-8", "surrogateescape")
