"""Imports a dataset: fetches, lists, labels, decodes every file once, splits, reports.

A version of a dataset is made of what was imported before.
"""

from collections.abc import Sequence
from dataclasses import replace

from jobs import datasets
from jobs.dataset_spec import (
    CsvSplit,
    DatasetSpec,
    NoLabels,
    ParentFolderLabels,
    RandomSplit,
    RegexLabels,
    Split,
)
from jobs.datasets import ImportOutcome
from jobs.disk_budget import least_bytes, require_free
from jobs.source_limits import excess
from jobs.sources.label_files import FolderFiles, LabelFiles
from jobs.sources.label_tables import LabelTable, file_names, label_table, part_table
from jobs.sources.paths import printable
from jobs.spec import DatasetImportSpec
from ml.theory.labels import (
    ImageFolderLabeller,
    Labeller,
    NoLabeller,
    TableLabeller,
    make_labeller,
)
from ml.theory.parts import Part, folder_part, part_named, random_parts
from worker.context import Context, Ending
from worker.dataset_versions import version_of
from worker.failures import JobFailedError
from worker.import_report import outcome_of, refuse_too_little
from worker.items import UNLABELLED, Item, write_items
from worker.keeping import keep_dataset
from worker.photo_checks import Labelled, checked
from worker.photo_sources import photos_of

_EXAMPLES = 5
_SKIP = ', or send "unmatched": "skip" to leave such files out'
_REMEDIES = {
    "regex": f"mend the pattern{_SKIP}",
    "parent_folder": "put every photo into a folder that names its class",
    "csv": f"mend the CSV file{_SKIP}",
    "imagefolder": f"mend the folders or the metadata{_SKIP}",
}


def run(context: Context) -> Ending:
    """The dataset is ready: every file was decoded, labelled and given a part.

    Raises:
        DiskFullError: the disk has no room for what it would write.
        JobFailedError: the source, the labels or the photos do not make a dataset.
        JobsError: the source cannot be used.
        StoppedError: it was broken off.
    """
    spec = DatasetImportSpec.model_validate(context.job.spec)
    if spec.version is None:
        items, outcome = _imported(context, spec.request)
    else:
        items, outcome = version_of(context, spec.version, spec.request.source)
    dataset_id = str(context.job.dataset_id)
    write_items(context.artifacts.items_file(dataset_id), items)
    keep_dataset(context, dataset_id)
    return Ending(
        values={"result": {"digest": outcome.digest}},
        also=lambda connection: datasets.mark_ready(connection, context.job, outcome),
    )


def _imported(context: Context, request: DatasetSpec) -> tuple[list[Item], ImportOutcome]:
    photos = photos_of(context, request.source, label_files=file_names(request))
    files = FolderFiles(photos.folder, context.readable_roots)
    labelled = _labelled(request, labeller_of(request, photos.names, files), photos.names)
    _refuse_too_much(context, request, labelled)
    parts = _part_table(request, photos.names, files)
    needs_labels = not isinstance(request.labels, NoLabels)
    items = checked(context, photos, labelled, needs_labels=needs_labels)
    _refuse_too_many_unreadable(request, items)
    items = _split(request, items, parts)
    refuse_too_little(items)
    return items, outcome_of(items, left_out=photos.left_out)


# --- labels ---------------------------------------------------------------------------------


def _labelled(request: DatasetSpec, labeller: Labeller, names: Sequence[str]) -> list[Labelled]:
    labelled = [(name, labeller.label(name).usable) for name in names]
    rule = request.labels
    if isinstance(rule, NoLabels):
        return labelled
    unmatched = [name for name, label in labelled if label is None]
    skip = not isinstance(rule, ParentFolderLabels) and rule.unmatched == "skip"
    if len(unmatched) == len(labelled) or (unmatched and not skip):
        raise JobFailedError(
            "labels_unmatched",
            f"{len(unmatched)} of {len(labelled)} names have no label, such as "
            + ", ".join(repr(printable(name)) for name in unmatched[:_EXAMPLES]),
            _REMEDIES[rule.rule],
        )
    return labelled


def labeller_of(request: DatasetSpec, names: Sequence[str], files: LabelFiles) -> Labeller:
    """What reads the labels of these names, paths below the source.

    Raises:
        LabelFileInvalidError: a file of labels cannot be used.
    """
    rule = request.labels
    if isinstance(rule, RegexLabels):
        return make_labeller("regex", pattern=rule.pattern, on=rule.on, group=rule.group)
    if isinstance(rule, ParentFolderLabels):
        return make_labeller("parent_folder")
    if isinstance(rule, NoLabels):
        return NoLabeller()
    table = label_table(rule, names, files)
    if table is None:
        return ImageFolderLabeller()
    if rule.rule == "imagefolder" or rule.missing == "error":
        table.require_photos(names)
    return TableLabeller(table.value)


def _refuse_too_much(context: Context, request: DatasetSpec, labelled: Sequence[Labelled]) -> None:
    limits, classes = context.settings, {label for _, label in labelled if label is not None}
    found = excess(limits, files=len(labelled), classes=len(classes))
    if found is not None:
        raise JobFailedError(found.code, found.message, found.remedy)
    needed_bytes = least_bytes(request.source, len(labelled))
    require_free(context.artifacts.root, needed_bytes, kept_free_bytes=limits.min_free_bytes)


# --- pixels and parts -----------------------------------------------------------------------


def _refuse_too_many_unreadable(request: DatasetSpec, items: Sequence[Item]) -> None:
    labelled = [item for item in items if item.reason != UNLABELLED]
    unreadable = [item for item in labelled if not item.usable]
    none_left = len(unreadable) == len(labelled)
    if none_left or len(unreadable) > request.max_unreadable_fraction * len(labelled):
        examples = "; ".join(f"{item.path!r}: {item.reason}" for item in unreadable[:_EXAMPLES])
        remedy = f", or raise max_unreadable_fraction (now {request.max_unreadable_fraction:g})"
        raise JobFailedError(
            "unreadable_images",
            f"{len(unreadable)} of {len(labelled)} files cannot be read ({examples})",
            f"remove or mend them{'' if none_left else remedy}",
        )


def _part_table(
    request: DatasetSpec, names: Sequence[str], files: LabelFiles
) -> LabelTable[Part] | None:
    rule = request.split
    if not isinstance(rule, CsvSplit):
        return None
    table = part_table(rule, files, part_named)
    if rule.missing == "error":
        table.require_photos(names)
    return table


def _split(
    request: DatasetSpec, items: Sequence[Item], table: LabelTable[Part] | None
) -> list[Item]:
    usable = [item for item in items if item.usable]
    parts = iter(_parts(request.split, usable, table))
    return [replace(item, split=next(parts) if item.usable else None) for item in items]


def _parts(
    rule: Split, items: Sequence[Item], table: LabelTable[Part] | None
) -> Sequence[Part | None]:
    if isinstance(rule, CsvSplit) and table is not None:
        return table.values(rule, [item.path for item in items])
    if isinstance(rule, RandomSplit):
        labels = [str(item.label) for item in items]
        return random_parts(labels, rule.valid_fraction, rule.seed, stratify=rule.stratify)
    return [folder_part(item.path) for item in items]
