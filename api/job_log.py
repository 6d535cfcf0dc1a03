"""The lines of a job's log, in pages; a line is named by the byte at which it begins."""

from collections.abc import Callable, Iterator
from itertools import islice

from api.schemas.events import LogLine

_LONGEST_LINE_BYTES = 16_384
"""A longer one is told in pieces, so that no page needs more memory than its limit allows."""

ReadFrom = Callable[[int], Iterator[bytes]]
"""The log's bytes from an offset on, piece by piece."""


def lines_of(read: ReadFrom, after: int | None, most: int) -> list[LogLine]:
    """At most ``most`` lines from the beginning, or those behind the line that begins there."""
    begin = after or 0
    lines = _lines(read(begin), begin)
    if after is not None:
        next(lines, None)
    return list(islice(lines, most))


def _lines(pieces: Iterator[bytes], offset: int) -> Iterator[LogLine]:
    held = b""
    for piece in pieces:
        held, begin = held + piece, 0
        while end := _end_of_line(held, begin):
            yield _line(offset, held[begin:end])
            offset, begin = offset + end - begin, end
        held = held[begin:]
    if held:
        yield _line(offset, held)


def _end_of_line(held: bytes, begin: int) -> int:
    """The place behind the line that begins there; 0 where its end is not there yet."""
    longest = begin + _LONGEST_LINE_BYTES
    return held.find(b"\n", begin, longest) + 1 or (longest if len(held) >= longest else 0)


def _line(offset: int, line: bytes) -> LogLine:
    return LogLine(offset=offset, text=line.decode(errors="replace").rstrip("\r\n"))
