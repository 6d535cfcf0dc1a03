"""The lines of a job's log, in pages; a line is named by the byte at which it begins."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from api.schemas.events import LogLine

_LONGEST_LINE_BYTES = 16_384
"""A longer one is told in pieces, so that no page needs more memory than its limit allows."""


def lines_of(file: Path, after: int | None, most: int) -> list[LogLine]:
    """At most ``most`` lines from the beginning, or those behind the line that begins there."""
    with file.open("rb") as stream:
        if after is not None:
            stream.seek(after)
            stream.readline(_LONGEST_LINE_BYTES)
        return list(islice(_lines(stream), most))


def _lines(stream: BinaryIO) -> Iterator[LogLine]:
    offset = stream.tell()
    while line := stream.readline(_LONGEST_LINE_BYTES):
        yield LogLine(offset=offset, text=line.decode(errors="replace").rstrip("\r\n"))
        offset += len(line)
