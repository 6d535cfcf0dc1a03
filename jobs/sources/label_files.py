"""Files beside the photos that name them: CSV and JSON lines, read row by row within bounds."""

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from jobs.errors import LabelFileInvalidError, SourceForbiddenError
from jobs.sources import paths

MOST_BYTES = 64 << 20
MOST_ROWS = 1_000_000

_BOM = b"\xef\xbb\xbf"
_SHOWN_CHARACTERS = 100
_SHOWN_COLUMNS = 10


@dataclass(frozen=True, slots=True)
class Row:
    """The values of the columns that were asked for, and the line that they end in, from 1."""

    line: int
    values: tuple[str, ...]


class LabelFiles(Protocol):
    """The files of one source, by their paths below it."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def lines(self, name: str) -> Iterator[bytes]:
        """The file's lines with their ends.

        Raises:
            LabelFileInvalidError: there is no such file, or it is too large.
        """
        ...


@dataclass(frozen=True, slots=True)
class FolderFiles:
    """Files in a folder; links must lead inside the roots, as for photos."""

    folder: Path
    roots: tuple[Path, ...]
    most_bytes: int = MOST_BYTES

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        # most are asked for in vain, and following links costs a look at every folder above
        if not os.path.lexists(self.folder / name):
            return False
        try:
            self._opened(name).close()
        except (SourceForbiddenError, OSError):
            return False
        return True

    def size_bytes(self, name: str) -> int:
        """How large a file is that is there."""
        return (self.folder / name).stat().st_size

    def lines(self, name: str) -> Iterator[bytes]:
        """As `LabelFiles.lines`."""
        try:
            opened = self._opened(name)
        except (SourceForbiddenError, OSError) as refused:
            raise _absent(name) from refused
        left_bytes = self.most_bytes
        with opened as file:
            while line := file.readline(left_bytes + 1):
                left_bytes -= len(line)
                if left_bytes < 0:
                    problem = f"it has more than {self.most_bytes} bytes"
                    raise LabelFileInvalidError(name, problem)
                yield line

    def _opened(self, name: str) -> BufferedReader:
        return paths.open_inside(self.folder / name, self.roots)


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """Files that were read already, such as those of an archive that is looked into."""

    contents: Mapping[str, bytes]

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self.contents

    def lines(self, name: str) -> Iterator[bytes]:
        """As `LabelFiles.lines`."""
        if not self.has(name):
            raise _absent(name)
        yield from io.BytesIO(self.contents[name])


def rows(
    files: LabelFiles, name: str, columns: Mapping[str, str], *, delimiter: str = ","
) -> Iterator[Row]:
    """The rows of a CSV file with a header, or of JSON lines where the name ends in ``.jsonl``.

    Args:
        files: where the file is.
        name: its path.
        columns: the fields of the rule, and the columns that they name; values come in this order.
        delimiter: what separates the fields of a CSV file.

    Raises:
        LabelFileInvalidError: there is no such file, it is too large, or a line cannot be read.
    """
    if name.endswith(".jsonl"):
        found = _json_rows(files, name, columns)
    else:
        found = _csv_rows(files, name, columns, delimiter)
    for number, row in enumerate(found):
        if number == MOST_ROWS:
            raise LabelFileInvalidError(name, f"it has more than {MOST_ROWS:,} rows", row.line)
        yield row


def quoted(value: object) -> str:
    """The value for a message, of a long one the beginning."""
    text = str(value)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…")


def _csv_rows(
    files: LabelFiles, name: str, columns: Mapping[str, str], delimiter: str
) -> Iterator[Row]:
    reader = csv.reader(_text(files, name), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        places = _places(name, header, columns, delimiter)
        for fields in reader:
            if fields and len(fields) != len(header):
                problem = f"it has {len(fields)} fields, and the header has {len(header)}"
                raise LabelFileInvalidError(name, problem, reader.line_num)
            if fields:
                yield Row(reader.line_num, tuple(fields[place] for place in places))
    except csv.Error as wrong:
        raise LabelFileInvalidError(name, str(wrong), reader.line_num) from wrong


def _places(
    name: str, header: list[str], columns: Mapping[str, str], delimiter: str
) -> tuple[int, ...]:
    for field, column in columns.items():
        if header.count(column) != 1:
            many = "more than one column" if column in header else "no column"
            shown = ", ".join(quoted(each) for each in header[:_SHOWN_COLUMNS]) or "nothing"
            problem = f"there is {many} {quoted(column)}; between {delimiter!r} stand {shown}"
            raise LabelFileInvalidError(name, problem, 1, field=field)
    return tuple(header.index(column) for column in columns.values())


def _json_rows(files: LabelFiles, name: str, columns: Mapping[str, str]) -> Iterator[Row]:
    for number, text in enumerate(_text(files, name), start=1):
        if text.strip():
            record = _record(name, number, text)
            values = tuple(
                _value(name, number, record, field, column) for field, column in columns.items()
            )
            yield Row(number, values)


def _record(name: str, line: int, text: str) -> Mapping[str, object]:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as wrong:
        raise LabelFileInvalidError(name, f"it is no JSON: {wrong}", line) from wrong
    if not isinstance(record, dict):
        raise LabelFileInvalidError(name, "it is no JSON object", line)
    return record


def _value(name: str, line: int, record: Mapping[str, object], field: str, column: str) -> str:
    value = record.get(column)
    if isinstance(value, bool) or not isinstance(value, str | int):
        problem = f"{quoted(column)} is {quoted(value)}; it must be a text or a whole number"
        raise LabelFileInvalidError(name, problem, line, field=field)
    return str(value)


def _text(files: LabelFiles, name: str) -> Iterator[str]:
    for number, line in enumerate(files.lines(name), start=1):
        try:
            yield (line.removeprefix(_BOM) if number == 1 else line).decode()
        except UnicodeDecodeError as wrong:
            raise LabelFileInvalidError(name, "it is not encoded in UTF-8", number) from wrong


def _absent(name: str) -> LabelFileInvalidError:
    return LabelFileInvalidError(name, "there is no such file below the source")
