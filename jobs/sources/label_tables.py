"""What label files say of each photo. Their paths are compared with listed names, never opened."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from jobs.dataset_spec import (
    CsvFile,
    CsvLabels,
    CsvSplit,
    DatasetSpec,
    ImageFolderLabels,
    Match,
)
from jobs.errors import LabelFileInvalidError
from jobs.sources.label_files import LabelFiles, quoted, rows

METADATA = ("metadata.csv", "metadata.jsonl")
_UNREAD_METADATA = "metadata.parquet"
_FILE_NAME = "file_name"
_LONGEST_LABEL = 4096
_EXAMPLES = 3

T = TypeVar("T")
Read = Callable[[str], T]
"""Takes a cell to its value.

Raises:
    ValueError: it has none; the message says what would be right.
"""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    file: str
    line: int
    path: str
    value: T


@dataclass(slots=True)
class LabelTable(Generic[T]):
    """One value for each photo that is named; ``match`` is which part of a photo's path counts."""

    match: Match = "path"
    _entries: dict[str, _Entry[T]] = field(default_factory=dict)

    def value(self, name: str) -> T | None:
        """What the photo's row says; None without one."""
        entry = self._entries.get(_key(name, self.match))
        return None if entry is None else entry.value

    def values(self, rule: CsvSplit, names: Iterable[str]) -> list[T | None]:
        """As `value`, of each photo; the rule says whether photos without a row are left out.

        Raises:
            LabelFileInvalidError: they are not, or no photo has a row.
        """
        names = list(names)
        found = [self.value(name) for name in names]
        missed = [name for name, value in zip(names, found, strict=True) if value is None]
        if missed and (rule.unmatched == "error" or len(missed) == len(names)):
            shown = ", ".join(quoted(name) for name in missed[:_EXAMPLES])
            problem = (
                f"{len(missed)} of {len(names)} photos have no row, such as {shown}; "
                'add rows, or send "unmatched": "skip" to leave such photos out'
            )
            raise LabelFileInvalidError(rule.file, problem)
        return found

    def require_photos(self, names: Iterable[str]) -> None:
        """Every row names a photo.

        Raises:
            LabelFileInvalidError: one does not.
        """
        keys = {_key(name, self.match) for name in names}
        strange = [entry for key, entry in self._entries.items() if key not in keys]
        if strange:
            first, more = strange[0], len(strange) - 1
            beside = f" (and {more} more rows)" if more else ""
            problem = f"{quoted(first.path)} names no photo of the source{beside}"
            raise LabelFileInvalidError(first.file, problem, first.line, field="path_column")

    def add(self, key: str, entry: _Entry[T]) -> None:
        """The row counts for the photo that the key matches.

        Raises:
            LabelFileInvalidError: that photo has a row already.
        """
        first = self._entries.setdefault(key, entry)
        if first is not entry:
            problem = f"{quoted(entry.path)} has a row already: {first.file}, line {first.line}"
            raise LabelFileInvalidError(entry.file, problem, entry.line, field="path_column")


def file_names(request: DatasetSpec) -> frozenset[str]:
    """The last parts of the paths of all label files that the rules may read."""
    rules = (request.labels, request.split)
    named = {PurePosixPath(rule.file).name for rule in rules if isinstance(rule, CsvFile)}
    if isinstance(request.labels, ImageFolderLabels):
        named |= {*METADATA, _UNREAD_METADATA}
    return frozenset(named)


def files_read(request: DatasetSpec, names: Sequence[str], files: LabelFiles) -> list[str]:
    """The label files that the rules read for these names, as far as there are any.

    Raises:
        LabelFileInvalidError: metadata of an image folder is there and cannot be read.
    """
    rules = (request.labels, request.split)
    named = [rule.file for rule in rules if isinstance(rule, CsvFile) and files.has(rule.file)]
    if isinstance(request.labels, ImageFolderLabels):
        named += [file for _, file in _metadata_files(names, files)]
    return named


def label_table(
    rule: CsvLabels | ImageFolderLabels, names: Sequence[str], files: LabelFiles
) -> LabelTable[str] | None:
    """The labels that the files give; None where there is no file of an image folder's metadata.

    Raises:
        LabelFileInvalidError: a file is absent, or a line of it says nothing that can be used.
    """
    if isinstance(rule, CsvLabels):
        return _csv_table(rule, "label_column", rule.label_column, files, _label)
    found = list(_metadata_files(names, files))
    if not found:
        return None
    table: LabelTable[str] = LabelTable()
    columns = {"path_column": _FILE_NAME, "label_column": rule.label_column}
    for folder, file in found:
        for row in rows(files, file, columns):
            path, cell = row.values
            value = _read(file, row.line, "label_column", cell, _label)
            table.add(f"{folder}{_plain(path)}", _Entry(file, row.line, path, value))
    return table


def part_table(rule: CsvSplit, files: LabelFiles, read: Read[T]) -> LabelTable[T]:
    """The parts that the file gives.

    Raises:
        LabelFileInvalidError: as `label_table`.
    """
    return _csv_table(rule, "part_column", rule.part_column, files, read)


def _csv_table(
    rule: CsvFile, field: str, column: str, files: LabelFiles, read: Read[T]
) -> LabelTable[T]:
    table: LabelTable[T] = LabelTable(rule.match)
    columns = {"path_column": rule.path_column, field: column}
    for row in rows(files, rule.file, columns, delimiter=rule.delimiter):
        path, cell = row.values
        value = _read(rule.file, row.line, field, cell, read)
        table.add(_plain(path), _Entry(rule.file, row.line, path, value))
    return table


def _read(file: str, line: int, field: str, cell: str, read: Read[T]) -> T:
    try:
        return read(cell)
    except ValueError as wrong:
        raise LabelFileInvalidError(file, f"{quoted(cell)}: {wrong}", line, field=field) from wrong


def _label(cell: str) -> str:
    """The label; an empty one is told with the photo that it belongs to."""
    if len(cell) > _LONGEST_LABEL:
        raise ValueError(f"a label has at most {_LONGEST_LABEL} characters")
    if "\0" in cell:
        raise ValueError("a label cannot have the character U+0000")
    return cell


def _metadata_files(names: Sequence[str], files: LabelFiles) -> Iterator[tuple[str, str]]:
    """Folders with a ``/`` at the end, the source's own being empty, and the file in each."""
    folders = {
        "" if str(parent) == "." else f"{parent}/"
        for name in names
        for parent in PurePosixPath(name).parents
    }
    for folder in sorted(folders):
        if files.has(f"{folder}{_UNREAD_METADATA}"):
            problem = f"it is not read; write it as {' or '.join(METADATA)}"
            raise LabelFileInvalidError(f"{folder}{_UNREAD_METADATA}", problem)
        found = [f"{folder}{name}" for name in METADATA if files.has(f"{folder}{name}")]
        if len(found) > 1:
            raise LabelFileInvalidError(found[0], f"{found[1]} lies beside it; keep one of both")
        yield from ((folder, file) for file in found)


def _key(name: str, match: Match) -> str:
    if match == "path":
        return name
    path = PurePosixPath(name)
    return path.name if match == "name" else path.stem


def _plain(path: str) -> str:
    """The path as names are listed; one that begins at the root or leads upwards names no photo."""
    if path.startswith("/"):
        return path
    return "/".join(part for part in path.split("/") if part not in {"", "."})
