"""Imports a dataset: fetches, lists, labels, decodes every file once, splits, reports.

A version of a dataset is made of what was imported before.
"""

from collections.abc import Sequence
from dataclasses import replace

from jobs import datasets
from jobs.dataset_spec import DatasetSpec, FolderSplit, RegexLabels
from jobs.datasets import ImportOutcome
from jobs.spec import DatasetImportSpec
from ml.theory.labels import Labeller, make_labeller
from ml.theory.parts import folder_part, random_parts
from worker.context import Context, Ending
from worker.dataset_versions import version_of
from worker.failures import JobFailedError
from worker.import_report import outcome_of, refuse_too_little
from worker.items import Item, write_items
from worker.photo_checks import Labelled, checked
from worker.photo_sources import photos_of

_EXAMPLES = 5


def run(context: Context) -> Ending:
    """The dataset is ready: every file was decoded, labelled and given a part.

    Raises:
        JobFailedError: the source, the labels or the photos do not make a dataset.
        JobsError: the source cannot be used.
        StoppedError: it was broken off.
    """
    spec = DatasetImportSpec.model_validate(context.job.spec)
    if spec.version is None:
        items, outcome = _imported(context, spec.request)
    else:
        items, outcome = version_of(context, spec.version, spec.request.source)
    write_items(context.artifacts.items_file(str(context.job.dataset_id)), items)
    return Ending(
        values={"result": {"digest": outcome.digest}},
        also=lambda connection: datasets.mark_ready(connection, context.job, outcome),
    )


def _imported(context: Context, request: DatasetSpec) -> tuple[list[Item], ImportOutcome]:
    photos = photos_of(context, request.source)
    labelled = _labelled(request, photos.names)
    items = checked(context, photos, labelled)
    _refuse_too_many_unreadable(request, items)
    items = _split(request, items)
    refuse_too_little(items)
    return items, outcome_of(items, left_out=photos.left_out)


# --- labels ---------------------------------------------------------------------------------


def _labelled(request: DatasetSpec, names: Sequence[str]) -> list[Labelled]:
    labeller = labeller_of(request)
    labelled = [(name, labeller.label(name).usable) for name in names]
    unmatched = [name for name, label in labelled if label is None]
    skip = isinstance(request.labels, RegexLabels) and request.labels.unmatched == "skip"
    if len(unmatched) == len(labelled) or (unmatched and not skip):
        raise JobFailedError(
            "labels_unmatched",
            f"{len(unmatched)} of {len(labelled)} names have no label, such as "
            + ", ".join(repr(name) for name in unmatched[:_EXAMPLES]),
            'mend the pattern, or send "unmatched": "skip" to leave such files out',
        )
    return labelled


def labeller_of(request: DatasetSpec) -> Labeller:
    """What reads a label from a path below the source."""
    if isinstance(request.labels, RegexLabels):
        rule = request.labels
        return make_labeller("regex", pattern=rule.pattern, on=rule.on, group=rule.group)
    return make_labeller("parent_folder")


# --- pixels and parts -----------------------------------------------------------------------


def _refuse_too_many_unreadable(request: DatasetSpec, items: Sequence[Item]) -> None:
    labelled = [item for item in items if item.label is not None]
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


def _split(request: DatasetSpec, items: Sequence[Item]) -> list[Item]:
    if isinstance(request.split, FolderSplit):
        return [
            replace(item, split=folder_part(item.path) if item.usable else None) for item in items
        ]
    labels = [str(item.label) for item in items if item.usable]
    rule = request.split
    drawn = iter(random_parts(labels, rule.valid_fraction, rule.seed, stratify=rule.stratify))
    return [replace(item, split=next(drawn) if item.usable else None) for item in items]
