"""Imports a dataset: lists, labels, decodes every file once, splits, reports."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jobs import datasets, leases
from jobs.artifacts import sha256_of
from jobs.ids import DatasetId, item_id
from jobs.sources import paths, sample
from jobs.spec import (
    DatasetSpec,
    FolderSplit,
    PathSource,
    RegexLabels,
    SampleSource,
)
from ml.errors import UnreadableImageError
from ml.images import decode_rgb, inspect, write_thumbnails
from ml.sample_photos import write_photo
from ml.theory.labels import Labeller, make_labeller
from ml.theory.splits import random_split, stratified_split
from worker.context import Context, Ending, How
from worker.failures import JobCancelledError, JobFailedError
from worker.items import DRAWN_FILES, Item, write_items
from worker.listener import ProgressWriter
from worker.patience import until_answered

_SHOWN = 1000
_EXAMPLES = 5
_DRAWING_SHARE = 0.7
_CHECK_SHORT_SIDE_PX = 512
_PARTS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}


def run(context: Context) -> Ending:
    """The dataset is ready: every file was decoded, labelled and given a part.

    Raises:
        JobFailedError: the source, the labels or the photos do not make a dataset.
        JobCancelledError: it was broken off.
    """
    request = DatasetSpec.model_validate(context.job.spec["request"])
    folder = _source_folder(context, request)
    names = _listed(context, request, folder)
    labelled = _labelled(request, names)
    items = _checked(context, request, folder, labelled)
    _refuse_too_many_unreadable(request, items)
    items = _split(request, items)
    _refuse_too_little(items)
    write_items(context.artifacts.dataset_folder(str(context.job.dataset_id)), items)
    outcome = _outcome(items)
    return Ending(
        how=How.SUCCEEDED,
        values={"result": {"digest": outcome.digest}},
        also=lambda connection: datasets.mark_ready(connection, context.job, outcome),
    )


# --- files and labels -----------------------------------------------------------------------


def _source_folder(context: Context, request: DatasetSpec) -> Path:
    if isinstance(request.source, PathSource):
        return paths.resolve_inside(request.source.path, context.settings.dataset_roots)
    return context.artifacts.dataset_folder(str(context.job.dataset_id)) / DRAWN_FILES


def _listed(context: Context, request: DatasetSpec, folder: Path) -> list[str]:
    if isinstance(request.source, SampleSource):
        return _drawn(context, request.source, folder)
    _enter(context, "listing")
    names = paths.list_photos(folder)
    if not names:
        raise JobFailedError(
            "too_few_images",
            f"no photo lies in {folder}",
            f"photos are files ending in {', '.join(paths.IMAGE_SUFFIXES)}",
        )
    return names


def _drawn(context: Context, source: SampleSource, folder: Path) -> list[str]:
    _enter(context, "drawing")
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
    _enter(context, "checking")
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
        return [replace(item, split=_part_of(item)) for item in items]
    usable = [position for position, item in enumerate(items) if item.usable]
    labels = [str(items[position].label) for position in usable]
    rule = request.split
    if rule.stratify:
        split = stratified_split(labels, rule.valid_fraction, rule.seed)
    else:
        split = random_split(len(labels), rule.valid_fraction, rule.seed)
    valid = {usable[index] for index in split.valid}
    train = set(usable) - valid
    return [
        replace(item, split="valid" if here in valid else "train" if here in train else None)
        for here, item in enumerate(items)
    ]


def _part_of(item: Item) -> str | None:
    return _PARTS.get(item.path.split("/")[0]) if item.usable and "/" in item.path else None


def _refuse_too_little(items: Sequence[Item]) -> None:
    used = [item for item in items if item.split is not None]
    if not used:
        raise JobFailedError(
            "too_few_images",
            "no photo lies in a folder named train, valid, val or test",
            'put the photos into such folders, or send "split": {"rule": "random"}',
        )
    classes = sorted({str(item.label) for item in used})
    if len(classes) < 2:
        raise JobFailedError(
            "too_few_classes",
            f"every photo has the same label {classes[0]!r}",
            "a classifier needs at least two labels",
        )
    train = sum(item.split == "train" for item in used)
    if train < 2:
        raise JobFailedError(
            "too_few_images",
            f"{train} photos are left to train on",
            "at least 2 are needed; lower valid_fraction or add photos",
        )


# --- what was found -------------------------------------------------------------------------


def _outcome(items: Sequence[Item]) -> datasets.ImportOutcome:
    used = [item for item in items if item.split is not None]
    classes = Counter(str(item.label) for item in used)
    parts = Counter(str(item.split) for item in used)
    counts = {
        "files": len(items),
        "usable": sum(item.usable for item in items),
        "train": parts["train"],
        "valid": parts["valid"],
        "test": parts["test"],
        "classes": len(classes),
    }
    return datasets.ImportOutcome(
        digest=_digest(used),
        counts=counts,
        classes=[{"label": label, "count": classes[label]} for label in sorted(classes)],
        report=_report(items, counts),
    )


def _digest(items: Iterable[Item]) -> str:
    """SHA-256 over all that decides a training: names, bytes, labels, parts."""
    digest = hashlib.sha256()
    for item in items:
        line = "\0".join([item.path, str(item.digest), str(item.label), str(item.split)])
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return f"sha256:{digest.hexdigest()}"


def _report(items: Sequence[Item], counts: dict[str, int]) -> dict[str, Any]:
    unmatched = [item.path for item in items if item.label is None]
    unreadable = [item for item in items if item.label is not None and not item.usable]
    return {
        **{name: counts[name] for name in ("files", "usable")},
        "counts": {name: counts[name] for name in ("train", "valid", "test")},
        "unreadable": [{"path": item.path, "reason": item.reason} for item in unreadable[:_SHOWN]],
        "unmatched": {"count": len(unmatched), "examples": unmatched[:_EXAMPLES]},
        "sizes": _sizes([item for item in items if item.usable]),
        "warnings": list(_warnings(items, unreadable)),
    }


def _sizes(items: Sequence[Item]) -> dict[str, int]:
    widths = [item.width for item in items if item.width is not None]
    heights = [item.height for item in items if item.height is not None]
    return {
        "min_width": min(widths),
        "max_width": max(widths),
        "min_height": min(heights),
        "max_height": max(heights),
    }


def _warnings(items: Sequence[Item], unreadable: Sequence[Item]) -> Iterable[dict[str, str]]:
    if unreadable:
        yield {
            "code": "unreadable_images",
            "detail": f"{len(unreadable)} files cannot be read and are left out",
        }
    trained = {item.label for item in items if item.split == "train"}
    unseen = {str(item.label) for item in items if item.split is not None} - trained
    if unseen:
        yield {
            "code": "label_not_in_train",
            "detail": f"labels without a photo to train on: {', '.join(sorted(unseen)[:20])}",
        }
    if not any(item.split == "valid" for item in items):
        yield {"code": "no_valid_part", "detail": "no photo is kept for validation"}


# --- running --------------------------------------------------------------------------------


def _enter(context: Context, phase: str) -> None:
    job = context.job
    until_answered(lambda: leases.enter_phase(context.database, job.id, job.fence, phase))
    context.doorbell.happened(context.job.id)


def _go_on(context: Context, pool: ThreadPoolExecutor) -> None:
    if context.control.must_end:
        pool.shutdown(wait=False, cancel_futures=True)
        raise JobCancelledError


def _threads(context: Context) -> int:
    return context.settings.compute_threads
