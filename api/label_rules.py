"""What the rules of a dataset make of listed names: labels and parts, or why they make nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from api.problems import Problem, at
from jobs.dataset_spec import (
    CsvSplit,
    DatasetSpec,
    FolderSplit,
    ImageFolderLabels,
    NoLabels,
    ParentFolderLabels,
    RegexLabels,
)
from jobs.errors import LabelFileInvalidError
from jobs.sources.label_files import LabelFiles
from jobs.sources.label_tables import label_table, part_table
from ml.theory.errors import InvalidRegexError, NoGroupError
from ml.theory.labels import (
    ImageFolderLabeller,
    Labelled,
    Labeller,
    NoLabeller,
    TableLabeller,
    make_labeller,
)
from ml.theory.parts import Part, folder_part, part_named, random_parts


def check_rule(request: DatasetSpec) -> None:
    """The label rule can be used, as far as it can be told without any name.

    Raises:
        Problem: it cannot.
    """
    if isinstance(request.labels, RegexLabels):
        _of_pattern(request.labels)


def labelled(
    request: DatasetSpec, names: Sequence[str], files: LabelFiles, *, is_complete: bool
) -> list[Labelled]:
    """What each name is labelled; ``is_complete`` says whether the source has no other names.

    Raises:
        Problem: the rule or a file of labels cannot be used.
    """
    labeller = _labeller(request, names, files, is_complete=is_complete)
    try:
        return [labeller.label(name) for name in names]
    except InvalidRegexError as wrong:
        raise _regex_problem(wrong) from wrong


def parts(
    request: DatasetSpec,
    names: Sequence[str],
    photos: Sequence[tuple[str, str | None]],
    files: LabelFiles,
) -> Sequence[Part | None]:
    """The part of each of these photos, which are names with their labels, if they have any.

    Raises:
        Problem: a file of parts cannot be used.
    """
    rule = request.split
    if isinstance(rule, FolderSplit):
        return [folder_part(name) for name, _ in photos]
    if isinstance(rule, CsvSplit):
        with _problems_at("/split"):
            table = part_table(rule, files, part_named)
            if rule.missing == "error":
                table.require_photos(names)
            return table.values(rule, [name for name, _ in photos])
    labels = [str(label) for _, label in photos]
    return random_parts(labels, rule.valid_fraction, rule.seed, stratify=rule.stratify)


def _labeller(
    request: DatasetSpec, names: Sequence[str], files: LabelFiles, *, is_complete: bool
) -> Labeller:
    rule = request.labels
    if isinstance(rule, RegexLabels):
        return _of_pattern(rule)
    if isinstance(rule, ParentFolderLabels):
        return make_labeller("parent_folder")
    if isinstance(rule, NoLabels):
        return NoLabeller()
    with _problems_at("/labels", named=not isinstance(rule, ImageFolderLabels)):
        table = label_table(rule, names, files)
        if table is None:
            return ImageFolderLabeller()
        if is_complete and (isinstance(rule, ImageFolderLabels) or rule.missing == "error"):
            table.require_photos(names)
    return TableLabeller(table.value)


def _of_pattern(rule: RegexLabels) -> Labeller:
    try:
        return make_labeller("regex", pattern=rule.pattern, on=rule.on, group=rule.group)
    except (InvalidRegexError, NoGroupError) as wrong:
        raise _regex_problem(wrong) from wrong


def _regex_problem(wrong: InvalidRegexError | NoGroupError) -> Problem:
    code = "regex_no_group" if isinstance(wrong, NoGroupError) else "invalid_regex"
    return at("/labels/pattern", code, str(wrong))


@contextmanager
def _problems_at(pointer: str, *, named: bool = True) -> Iterator[None]:
    """A file that cannot be used is a problem of the field that names it, or else of the rule."""
    try:
        yield
    except LabelFileInvalidError as wrong:
        field = wrong.field if named or wrong.field == "label_column" else "rule"
        raise at(f"{pointer}/{field}", "label_file_invalid", str(wrong)) from wrong
