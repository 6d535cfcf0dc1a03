"""Imports a dataset: lists, labels, decodes every file once, splits, reports."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

from jobs import datasets, leases
from jobs.artifacts import sha256_of
from jobs.dataset_spec import DatasetSpec, FolderSplit, RegexLabels, SampleSource
from jobs.ids import DatasetId, item_id
from jobs.sources import paths, sample
from ml.errors import StoppedError, UnreadableImageError
from ml.images import decode_rgb, inspect, write_thumbnails
from ml.sample.photos import write_photo
from ml.theory.labels import Labeller, make_labeller
from ml.theory.parts import folder_part, random_parts, shortage
from worker.context import Context, Ending
from worker.failures import JobFailedError
from worker.import_report import outcome_of
from worker.items import Item, write_items
from worker.progress import ProgressWriter

_EXAMPLES = 5
_DRAWING_SHARE = 0.7
_CHECK_SHORT_SIDE_PX = 512


def run(context: Context) -> Ending:
    """The dataset is ready: every file was decoded, labelled and given a part.

    Raises:
        JobFailedError: the source, the labels or the photos do not make a dataset.
        StoppedError: it was broken off.
    """
    request = DatasetSpec.model_validate(context.job.spec["request"])
    dataset_id = str(context.job.dataset_id)
    folder = context.photos_folder(dataset_id, request.source)
    names = _listed(context, request, folder)
    labelled = _labelled(request, names)
    items = _checked(context, request, folder, labelled)
    _refuse_too_many_unreadable(request, items)
    items = _split(request, items)
    _refuse_too_little(items)
    write_items(context.artifacts.items_file(dataset_id), items)
    outcome = outcome_of(items)
    return Ending(
        values={"result": {"digest": outcome.digest}},
        also=lambda connection: datasets.mark_ready(connection, context.job, outcome),
    )


# --- files and labels -----------------------------------------------------------------------


def _listed(context: Context, request: DatasetSpec, folder: Path) -> list[str]:
    if isinstance(request.source, SampleSource):
        return _drawn(context, request.source, folder)
    context.tell(leases.enter_phase, "listing")
    names = paths.list_photos(folder)
    if not names:
        raise JobFailedError(
            "too_few_images",
            f"no photo lies in {folder}",
            f"photos are files ending in {', '.join(paths.IMAGE_SUFFIXES)}",
        )
    return names


def _drawn(context: Context, source: SampleSource, folder: Path) -> list[str]:
    context.tell(leases.enter_phase, "drawing")
    plan = sample.sample_plan(photos_per_class=source.photos_per_class, seed=source.seed)
    folder.mkdir(parents=True, exist_ok=True)
    writer = ProgressWriter(context, phase="drawing", span=(0.0, _DRAWING_SHARE))
    with ThreadPoolExecutor(_threads(context)) as pool:
        drawing = pool.map(partial(_draw, folder), plan)
        for done, _ in enumerate(drawing, start=1):
            _go_on(context, pool)
            writer.count(done, len(plan))
    return [photo.name for photo in plan]


def _draw(folder: Path, photo: sample.SamplePhoto) -> None:
    write_photo(folder / photo.name, drawn_class=photo.drawn_class, seed=photo.seed)


def _labelled(request: DatasetSpec, names: Sequence[str]) -> list[tuple[str, str | None]]:
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


# --- pixels ---------------------------------------------------------------------------------


def _checked(
    context: Context,
    request: DatasetSpec,
    folder: Path,
    labelled: Sequence[tuple[str, str | None]],
) -> list[Item]:
    context.tell(leases.enter_phase, "checking")
    dataset_id = DatasetId(str(context.job.dataset_id))
    thumbnails = context.artifacts.thumbnails_folder(dataset_id)
    thumbnails.mkdir(parents=True, exist_ok=True)
    check = partial(_check, context, dataset_id, folder, thumbnails)
    begin = _DRAWING_SHARE if isinstance(request.source, SampleSource) else 0.0
    writer = ProgressWriter(context, phase="checking", span=(begin, 1.0))
    items = []
    with ThreadPoolExecutor(_threads(context)) as pool:
        for item in pool.map(check, labelled):
            _go_on(context, pool)
            items.append(item)
            writer.count(len(items), len(labelled))
    return items


def _check(
    context: Context,
    dataset_id: DatasetId,
    folder: Path,
    thumbnails: Path,
    labelled: tuple[str, str | None],
) -> Item:
    name, label = labelled
    item = Item(item_id=item_id(dataset_id, name), path=paths.printable(name), label=label)
    if label is None:
        return replace(item, reason="its name has no label")
    if item.path != name:
        return replace(item, reason="its path is not in UTF-8; rename it")
    path = folder / name
    roots = (*context.settings.dataset_roots, context.artifacts.root)
    if not paths.leads_inside(path, roots):
        return replace(item, reason=_outside(path))
    try:
        return _decoded(item, path, thumbnails, context.settings.max_pixels)
    except UnreadableImageError as problem:
        return replace(item, reason=problem.reason)


def _outside(path: Path) -> str:
    if path.is_symlink():
        return "the link leads to no file inside the allowed roots"
    return "it is not a regular file"


def _decoded(item: Item, path: Path, thumbnails: Path, max_pixels: int) -> Item:
    info = inspect(path, max_pixels=max_pixels)
    # decoding at a reduced size still reads the file to its end
    image = decode_rgb(path, min_short_side=_CHECK_SHORT_SIDE_PX, max_pixels=max_pixels)
    write_thumbnails(image, thumbnails, item.item_id)
    return replace(
        item,
        width=info.width,
        height=info.height,
        format=info.format,
        mode=info.mode,
        size_bytes=path.stat().st_size,
        digest=sha256_of(path),
        usable=True,
    )


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


# --- parts ----------------------------------------------------------------------------------


def _split(request: DatasetSpec, items: Sequence[Item]) -> list[Item]:
    if isinstance(request.split, FolderSplit):
        return [
            replace(item, split=folder_part(item.path) if item.usable else None) for item in items
        ]
    labels = [str(item.label) for item in items if item.usable]
    rule = request.split
    drawn = iter(random_parts(labels, rule.valid_fraction, rule.seed, stratify=rule.stratify))
    return [replace(item, split=next(drawn) if item.usable else None) for item in items]


def _refuse_too_little(items: Sequence[Item]) -> None:
    lack = shortage([str(item.label) for item in items], [item.split for item in items])
    if lack is not None:
        raise JobFailedError(lack.code, lack.message, lack.remedy)


# --- running --------------------------------------------------------------------------------


def _go_on(context: Context, pool: ThreadPoolExecutor) -> None:
    if context.control.must_end:
        pool.shutdown(wait=False, cancel_futures=True)
        raise StoppedError("importing", context.control.order.value)


def _threads(context: Context) -> int:
    return context.settings.compute_threads
