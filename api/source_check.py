"""What can be known to be wrong with a dataset from its file names alone, refused at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api.problems import Problem, at
from jobs.dataset_spec import DatasetSpec, FolderSplit, PathSource, RandomSplit, RegexLabels
from jobs.errors import SourceForbiddenError, SourceUnreachableError
from jobs.sources.paths import peek_photos, resolve_inside
from jobs.sources.sample import sample_plan
from ml.theory.errors import InvalidRegexError, NoGroupError
from ml.theory.label_repair import find_hint
from ml.theory.labels import Labelled, Labeller, make_labeller
from ml.theory.parts import PARTS, Part, folder_part, random_parts, shortage

_EXAMPLES = 3
_HINT_NAMES = 2000


@dataclass(frozen=True, slots=True)
class _Listing:
    """Names found so far, and whether they are all."""

    names: Sequence[str]
    is_complete: bool
    where: str


def check_dataset(request: DatasetSpec, roots: Sequence[Path]) -> None:
    """The import could succeed, as far as at most 2 s of listing names can tell.

    Raises:
        Problem: it could not; the codes are those that the import would fail with.
    """
    labeller = _labeller(request)
    listing = _listing(request, roots)
    if not listing.names:
        detail = f"there is no photo below {listing.where}"
        raise at("/source/path", "too_few_images", detail)
    found = _labelled(labeller, listing.names)
    _check_matches(request, listing, found)
    if listing.is_complete:
        _check_parts(request, listing, found)


def foreseen_counts(request: DatasetSpec, roots: Sequence[Path]) -> dict[str, int] | None:
    """Photos by part, and classes, that the import of a sound request will find.

    Every listed name counts, as no file is opened. None when the names could not all be listed
    in at most 2 s.

    Raises:
        Problem: as `check_dataset`, where the folder or the pattern cannot be used at all.
    """
    listing = _listing(request, roots)
    if not listing.is_complete:
        return None
    photos = _photos(listing, _labelled(_labeller(request), listing.names))
    parts = _parts(request.split, [name for name, _ in photos], [label for _, label in photos])
    used = [label for (_, label), part in zip(photos, parts, strict=True) if part is not None]
    counts = {str(part): parts.count(part) for part in PARTS}
    return {**counts, "usable": len(used), "classes": len(set(used))}


def _labeller(request: DatasetSpec) -> Labeller:
    labels = request.labels
    if not isinstance(labels, RegexLabels):
        return make_labeller(labels.rule)
    try:
        return make_labeller("regex", pattern=labels.pattern, on=labels.on, group=labels.group)
    except (InvalidRegexError, NoGroupError) as wrong:
        raise _regex_problem(wrong) from wrong


def _labelled(labeller: Labeller, names: Sequence[str]) -> list[Labelled]:
    try:
        return [labeller.label(name) for name in names]
    except InvalidRegexError as wrong:
        raise _regex_problem(wrong) from wrong


def _regex_problem(wrong: InvalidRegexError | NoGroupError) -> Problem:
    code = "regex_no_group" if isinstance(wrong, NoGroupError) else "invalid_regex"
    return at("/labels/pattern", code, str(wrong))


def _listing(request: DatasetSpec, roots: Sequence[Path]) -> _Listing:
    source = request.source
    if not isinstance(source, PathSource):
        plan = sample_plan(photos_per_class=source.photos_per_class, seed=source.seed)
        return _Listing([photo.name for photo in plan], True, "the sample")
    try:
        names, is_complete = peek_photos(resolve_inside(source.path, roots))
    except SourceForbiddenError as forbidden:
        raise at("/source/path", "source_forbidden", str(forbidden)) from forbidden
    except SourceUnreachableError as missing:
        raise at("/source/path", "source_unreachable", str(missing)) from missing
    return _Listing(names, is_complete, repr(source.path))


def _check_matches(request: DatasetSpec, listing: _Listing, found: Sequence[Labelled]) -> None:
    missed = [name for name, each in zip(listing.names, found, strict=True) if each.usable is None]
    labels = request.labels
    may_skip = isinstance(labels, RegexLabels) and labels.unmatched == "skip"
    tolerated = may_skip or not listing.is_complete
    if not missed or (tolerated and len(missed) < len(found)):
        return
    examples = ", ".join(repr(name[:200]) for name in missed[:_EXAMPLES])
    detail = f"{len(missed)} of {len(found)} names have no label, such as {examples}"
    pointer = "/labels/pattern" if isinstance(labels, RegexLabels) else "/labels/rule"
    raise at(pointer, "labels_unmatched", f"{detail}; {_hint(request, listing, found)}")


def _hint(request: DatasetSpec, listing: _Listing, found: Sequence[Labelled]) -> str:
    labels = request.labels
    names, tried = listing.names[:_HINT_NAMES], found[:_HINT_NAMES]
    if isinstance(labels, RegexLabels):
        hint = find_hint(names, tried, pattern=labels.pattern, on=labels.on, group=labels.group)
        otherwise = 'change the pattern, or set "unmatched" to "skip"'
    else:
        hint = find_hint(names, tried, pattern=None, on="name", group=1)
        otherwise = "put the photos into one folder for each class, or use the rule regex"
    return otherwise if hint is None else hint.message


def _check_parts(request: DatasetSpec, listing: _Listing, found: Sequence[Labelled]) -> None:
    photos = _photos(listing, found)
    labels = [label for _, label in photos]
    lack = shortage(labels, _parts(request.split, [name for name, _ in photos], labels))
    if lack is not None:
        pointer = "/labels" if lack.code == "too_few_classes" else "/split"
        raise at(pointer, lack.code, f"{lack.message}; {lack.remedy}")


def _photos(listing: _Listing, found: Sequence[Labelled]) -> list[tuple[str, str]]:
    """The names that have a label, with it."""
    return [
        (name, each.usable)
        for name, each in zip(listing.names, found, strict=True)
        if each.usable is not None
    ]


def _parts(
    split: RandomSplit | FolderSplit, names: Sequence[str], labels: Sequence[str]
) -> Sequence[Part | None]:
    if isinstance(split, FolderSplit):
        return [folder_part(name) for name in names]
    return random_parts(labels, split.valid_fraction, split.seed, stratify=split.stratify)
