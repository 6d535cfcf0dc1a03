"""What can be known to be wrong with a dataset from its file names alone, refused at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from api.problems import Problem, at
from jobs.artifacts import Artifacts
from jobs.dataset_spec import (
    DatasetSpec,
    FolderSplit,
    RandomSplit,
    RegexLabels,
    SampleSource,
    StoreSource,
    UploadSource,
    UrlSource,
)
from jobs.disk_budget import least_bytes, require_free
from jobs.errors import (
    ArchiveInvalidError,
    ArchiveTooLargeError,
    SourceForbiddenError,
    SourceUnreachableError,
)
from jobs.settings import Settings
from jobs.source_limits import SourceLimits, excess
from jobs.sources import archives
from jobs.sources.object_places import place_of
from jobs.sources.paths import peek_photos, resolve_inside
from jobs.sources.sample import sample_plan
from jobs.web_addresses import WebAddress
from ml.theory.errors import InvalidRegexError, NoGroupError
from ml.theory.label_repair import find_hint
from ml.theory.labels import Labelled, Labeller, make_labeller
from ml.theory.parts import PARTS, Part, folder_part, random_parts, shortage

_EXAMPLES = 3
_HINT_NAMES = 2000


@dataclass(frozen=True, slots=True)
class Listing:
    """Names found so far, whether they are all, and where in the request they come from."""

    names: Sequence[str]
    is_complete: bool
    where: str
    pointer: str = "/source"


def check_dataset(request: DatasetSpec, settings: Settings) -> None:
    """The import could succeed, as far as at most 2 s of listing names can tell.

    Raises:
        Problem: it could not; the codes are those that the import would fail with.
        DiskFullError: the disk has no room for what it would write.
    """
    labeller = labeller_of(request)
    listing = listing_of(request, settings)
    if listing is not None:
        check_names(request, listing, settings, labeller)
        needed_bytes = least_bytes(request.source, len(listing.names))
        require_free(settings.artifacts, needed_bytes, kept_free_bytes=settings.min_free_bytes)


def check_names(
    request: DatasetSpec,
    listing: Listing,
    limits: SourceLimits,
    labeller: Labeller | None = None,
) -> None:
    """The names suffice for a dataset with this rule and this split.

    Raises:
        Problem: they do not, or the rule cannot be used.
    """
    if not listing.names:
        detail = f"there is no photo below {listing.where}"
        raise at(listing.pointer, "too_few_images", detail)
    found = _labelled(labeller or labeller_of(request), listing.names)
    _check_matches(request, listing, found)
    _check_limits(listing, found, limits)
    if listing.is_complete:
        _check_parts(request, listing, found)


def labeller_of(request: DatasetSpec) -> Labeller:
    """What reads a label from a name by the request's rule.

    Raises:
        Problem: the rule cannot be used.
    """
    labels = request.labels
    if not isinstance(labels, RegexLabels):
        return make_labeller(labels.rule)
    try:
        return make_labeller("regex", pattern=labels.pattern, on=labels.on, group=labels.group)
    except (InvalidRegexError, NoGroupError) as wrong:
        raise _regex_problem(wrong) from wrong


def foreseen_counts(request: DatasetSpec, settings: Settings) -> dict[str, int] | None:
    """Photos by part, and classes, that the import of a sound request will find.

    Every listed name counts, as no file is opened. None when the names could not all be listed
    in at most 2 s.

    Raises:
        Problem: as `check_dataset`, where the folder or the pattern cannot be used at all.
    """
    listing = listing_of(request, settings)
    return None if listing is None else counts_of(request, listing)


def counts_of(request: DatasetSpec, listing: Listing) -> dict[str, int] | None:
    """Photos by part, usable photos and classes of the names; None when they are not all."""
    if not listing.is_complete:
        return None
    photos = _photos(listing, _labelled(labeller_of(request), listing.names))
    parts = _parts(request.split, [name for name, _ in photos], [label for _, label in photos])
    used = [label for (_, label), part in zip(photos, parts, strict=True) if part is not None]
    counts = {str(part): parts.count(part) for part in PARTS}
    return {**counts, "usable": len(used), "classes": len(set(used))}


def _labelled(labeller: Labeller, names: Sequence[str]) -> list[Labelled]:
    try:
        return [labeller.label(name) for name in names]
    except InvalidRegexError as wrong:
        raise _regex_problem(wrong) from wrong


def _regex_problem(wrong: InvalidRegexError | NoGroupError) -> Problem:
    code = "regex_no_group" if isinstance(wrong, NoGroupError) else "invalid_regex"
    return at("/labels/pattern", code, str(wrong))


def listing_of(request: DatasetSpec, settings: Settings) -> Listing | None:
    """What the source is known to hold; None where too little of it can be told in time.

    Raises:
        Problem: the source cannot be used.
    """
    source = request.source
    if isinstance(source, UploadSource):
        return _of_upload(source, settings)
    if isinstance(source, UrlSource | StoreSource):
        _check_address(source, settings)
        return None
    if isinstance(source, SampleSource):
        plan = sample_plan(photos_per_class=source.photos_per_class, seed=source.seed)
        return Listing([photo.name for photo in plan], True, "the sample")
    try:
        names, is_complete = peek_photos(resolve_inside(source.path, settings.dataset_roots))
    except SourceForbiddenError as forbidden:
        raise at("/source/path", "source_forbidden", str(forbidden)) from forbidden
    except SourceUnreachableError as missing:
        raise at("/source/path", "source_unreachable", str(missing)) from missing
    return Listing(names, is_complete, repr(source.path), "/source/path")


def _check_address(source: UrlSource | StoreSource, settings: Settings) -> None:
    """The address may be fetched from, as far as it tells itself; that is for a worker to do."""
    try:
        if isinstance(source, UrlSource):
            WebAddress(source.url, settings.targets)
        else:
            place_of(source.type, source.url, settings.remote_roots)
    except SourceForbiddenError as forbidden:
        raise at("/source/url", "source_forbidden", str(forbidden)) from forbidden


def _of_upload(source: UploadSource, settings: Settings) -> Listing | None:
    pointer = "/source/upload_id"
    file = Artifacts(settings.artifacts).upload_file(source.upload_id)
    try:
        require_free(file, file.stat().st_size, kept_free_bytes=settings.min_free_bytes)
        names, is_complete = archives.peek_photos(file, settings)
    except FileNotFoundError as missing:
        detail = f"upload {source.upload_id} is not in the artifact store; send it again"
        raise at(pointer, "source_unreachable", detail) from missing
    except ArchiveInvalidError as broken:
        raise at(pointer, "archive_invalid", str(broken)) from broken
    except ArchiveTooLargeError as large:
        raise at(pointer, "archive_too_large", str(large)) from large
    # which folders wrap all photos is not known before the last name
    return Listing(names, True, f"upload {source.upload_id}", pointer) if is_complete else None


def _check_matches(request: DatasetSpec, listing: Listing, found: Sequence[Labelled]) -> None:
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


def _check_limits(listing: Listing, found: Sequence[Labelled], limits: SourceLimits) -> None:
    classes = {each.usable for each in found if each.usable is not None}
    exceeded = excess(limits, files=len(found), classes=len(classes))
    if exceeded is not None:
        pointer = "/labels" if exceeded.code == "too_many_classes" else listing.pointer
        raise at(pointer, exceeded.code, f"{exceeded.message}; {exceeded.remedy}")


def _hint(request: DatasetSpec, listing: Listing, found: Sequence[Labelled]) -> str:
    labels = request.labels
    names, tried = listing.names[:_HINT_NAMES], found[:_HINT_NAMES]
    if isinstance(labels, RegexLabels):
        hint = find_hint(names, tried, pattern=labels.pattern, on=labels.on, group=labels.group)
        otherwise = 'change the pattern, or set "unmatched" to "skip"'
    else:
        hint = find_hint(names, tried, pattern=None, on="name", group=1)
        otherwise = "put the photos into one folder for each class, or use the rule regex"
    return otherwise if hint is None else hint.message


def _check_parts(request: DatasetSpec, listing: Listing, found: Sequence[Labelled]) -> None:
    photos = _photos(listing, found)
    labels = [label for _, label in photos]
    lack = shortage(labels, _parts(request.split, [name for name, _ in photos], labels))
    if lack is not None:
        pointer = "/labels" if lack.code == "too_few_classes" else "/split"
        raise at(pointer, lack.code, f"{lack.message}; {lack.remedy}")


def _photos(listing: Listing, found: Sequence[Labelled]) -> list[tuple[str, str]]:
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
