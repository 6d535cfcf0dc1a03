"""What can be known to be wrong with a dataset from its file names alone, refused at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from api.label_rules import check_rule, labelled, parts
from api.problems import at
from jobs.artifacts import Artifacts
from jobs.dataset_spec import (
    DatasetSpec,
    NoLabels,
    ParentFolderLabels,
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
    LabelFileInvalidError,
    SourceForbiddenError,
    SourceUnreachableError,
)
from jobs.settings import Settings
from jobs.source_limits import SourceLimits, excess
from jobs.sources import archives
from jobs.sources.label_files import FolderFiles, LabelFiles, ReadFiles
from jobs.sources.label_tables import file_names, files_read
from jobs.sources.object_places import place_of
from jobs.sources.paths import peek_photos, resolve_inside
from jobs.sources.sample import sample_plan
from jobs.web_addresses import WebAddress
from ml.theory.label_repair import find_hint
from ml.theory.labels import Labelled
from ml.theory.parts import PARTS, Part, shortage

NO_FILES = ReadFiles({})
_QUICK_LOOK_BYTES = 8 << 20
_EXAMPLES = 3
_HINT_NAMES = 2000
_MENDED = {
    "csv": "add rows for them to the CSV file",
    "imagefolder": "put the photos into one folder for each class, or add them to the metadata",
}


@dataclass(frozen=True, slots=True)
class Listing:
    """Names found so far, whether they are all, and where in the request they come from.

    ``files`` are the files beside them that rules may read.
    """

    names: Sequence[str]
    is_complete: bool
    where: str
    pointer: str = "/source"
    files: LabelFiles = NO_FILES


@dataclass(frozen=True)
class Reading:
    """What the rules of a request make of listed names; files of labels are read once, if at all.

    Each of its properties may raise `Problem`: the rule, or a file that it needs, cannot be used.
    """

    request: DatasetSpec
    listing: Listing

    @cached_property
    def labels(self) -> Sequence[Labelled]:
        """What each of the names is labelled."""
        listing = self.listing
        return labelled(self.request, listing.names, listing.files, is_complete=listing.is_complete)

    @cached_property
    def photos(self) -> Sequence[tuple[str, str | None]]:
        """The names that have a label, with it, or need none."""
        return [
            (name, each.label)
            for name, each in zip(self.listing.names, self.labels, strict=True)
            if each.reason is None
        ]

    @cached_property
    def parts(self) -> Sequence[Part | None]:
        """The part of each of these photos."""
        return parts(self.request, self.listing.names, self.photos, self.listing.files)

    @property
    def counts(self) -> dict[str, int] | None:
        """Photos by part, usable photos and classes of the names; None when they are not all."""
        if not self.listing.is_complete:
            return None
        pairs = zip(self.photos, self.parts, strict=True)
        used = [label for (_, label), part in pairs if part is not None]
        by_part = {str(part): self.parts.count(part) for part in PARTS}
        return {**by_part, "usable": len(used), "classes": len(set(used) - {None})}


def check_dataset(request: DatasetSpec, settings: Settings) -> None:
    """The import could succeed, as far as at most 2 s of listing names can tell.

    Raises:
        Problem: it could not; the codes are those that the import would fail with.
        DiskFullError: the disk has no room for what it would write.
    """
    check_rule(request)
    listing = listing_of(request, settings)
    if listing is not None:
        check_names(Reading(request, listing), settings)
        needed_bytes = least_bytes(request.source, len(listing.names))
        require_free(settings.artifacts, needed_bytes, kept_free_bytes=settings.min_free_bytes)


def check_names(read: Reading, limits: SourceLimits) -> None:
    """The names suffice for a dataset with this rule and this split.

    Raises:
        Problem: they do not, or the rule cannot be used.
    """
    listing = read.listing
    if not listing.names:
        detail = f"there is no photo below {listing.where}"
        raise at(listing.pointer, "too_few_images", detail)
    _check_matches(read.request, listing, read.labels)
    _check_limits(listing, read.labels, limits)
    if listing.is_complete:
        _check_parts(read)


def foreseen_counts(request: DatasetSpec, settings: Settings) -> dict[str, int] | None:
    """Photos by part, and classes, that the import of a sound request will find.

    Every listed name counts, as no file is opened. None when the names could not all be listed
    in at most 2 s.

    Raises:
        Problem: as `check_dataset`, where the folder or the rule cannot be used at all.
    """
    listing = listing_of(request, settings)
    return None if listing is None else Reading(request, listing).counts


def listing_of(request: DatasetSpec, settings: Settings) -> Listing | None:
    """What the source is known to hold; None where too little of it can be told in time.

    Raises:
        Problem: the source cannot be used.
    """
    source = request.source
    if isinstance(source, UploadSource):
        return _of_upload(source, settings, file_names(request))
    if isinstance(source, UrlSource | StoreSource):
        _check_address(source, settings)
        return None
    if isinstance(source, SampleSource):
        plan = sample_plan(photos_per_class=source.photos_per_class, seed=source.seed)
        return Listing([photo.name for photo in plan], True, "the sample")
    try:
        folder = resolve_inside(source.path, settings.dataset_roots)
        names, is_complete = peek_photos(folder)
    except SourceForbiddenError as forbidden:
        raise at("/source/path", "source_forbidden", str(forbidden)) from forbidden
    except SourceUnreachableError as missing:
        raise at("/source/path", "source_unreachable", str(missing)) from missing
    files = FolderFiles(folder, settings.dataset_roots)
    if _is_long(request, names, files):
        return None
    return Listing(names, is_complete, repr(source.path), "/source/path", files)


def _check_address(source: UrlSource | StoreSource, settings: Settings) -> None:
    """The address may be fetched from, as far as it tells itself; that is for a worker to do."""
    try:
        if isinstance(source, UrlSource):
            WebAddress(source.url, settings.targets)
        else:
            place_of(source.type, source.url, settings.remote_roots)
    except SourceForbiddenError as forbidden:
        raise at("/source/url", "source_forbidden", str(forbidden)) from forbidden


def _is_long(request: DatasetSpec, names: Sequence[str], files: FolderFiles) -> bool:
    """Whether reading the label files would take longer than an answer should."""
    try:
        read = files_read(request, names, files)
    except LabelFileInvalidError:  # told by whoever reads them
        return False
    return sum(map(files.size_bytes, read)) > _QUICK_LOOK_BYTES


def _of_upload(
    source: UploadSource, settings: Settings, label_files: frozenset[str]
) -> Listing | None:
    pointer = "/source/upload_id"
    artifacts = Artifacts.of(settings)
    file = artifacts.fetched(artifacts.upload_file(source.upload_id))
    try:
        require_free(file, file.stat().st_size, kept_free_bytes=settings.min_free_bytes)
        peek = archives.peek_photos(file, settings, label_files=label_files)
    except FileNotFoundError as missing:
        detail = f"upload {source.upload_id} is not in the artifact store; send it again"
        raise at(pointer, "source_unreachable", detail) from missing
    except ArchiveInvalidError as broken:
        raise at(pointer, "archive_invalid", str(broken)) from broken
    except ArchiveTooLargeError as large:
        raise at(pointer, "archive_too_large", str(large)) from large
    if not peek.is_complete:
        # which folders wrap all photos is not known before the last name
        return None
    where, files = f"upload {source.upload_id}", ReadFiles(peek.label_files)
    return Listing(peek.names, True, where, pointer, files)


def _check_matches(request: DatasetSpec, listing: Listing, found: Sequence[Labelled]) -> None:
    labels = request.labels
    if isinstance(labels, NoLabels):
        return
    missed = [name for name, each in zip(listing.names, found, strict=True) if each.usable is None]
    may_skip = not isinstance(labels, ParentFolderLabels) and labels.unmatched == "skip"
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
    elif isinstance(labels, ParentFolderLabels):
        hint = find_hint(names, tried, pattern=None, on="name", group=1)
        otherwise = "put the photos into one folder for each class, or use the rule regex"
    else:
        hint = None
        otherwise = f'{_MENDED[labels.rule]}, or set "unmatched" to "skip"'
    return otherwise if hint is None else hint.message


def _check_parts(read: Reading) -> None:
    lack = shortage([label for _, label in read.photos], read.parts)
    if lack is not None:
        pointer = "/labels" if lack.code == "too_few_classes" else "/split"
        raise at(pointer, lack.code, f"{lack.message}; {lack.remedy}")
