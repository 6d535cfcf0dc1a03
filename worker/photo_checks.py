"""Decodes every photo of an import once: what it is, or why it cannot be used."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from jobs import leases
from jobs.artifacts import sha256_of
from jobs.ids import DatasetId, item_id
from jobs.sources import paths
from ml.errors import UnreadableImageError
from ml.fingerprint import fingerprint
from ml.images import decode_rgb, inspect, write_thumbnails
from worker.break_off import for_each
from worker.context import Context
from worker.items import Item
from worker.photo_sources import Photos
from worker.progress import ProgressWriter

_CHECK_SHORT_SIDE_PX = 512

Labelled = tuple[str, str | None]
"""A name and its label; None where the rule reads none from it."""


def checked(context: Context, photos: Photos, labelled: Sequence[Labelled]) -> list[Item]:
    """Each named photo as an item, with thumbnails if it can be used, in the same order.

    Raises:
        StoppedError: it was broken off.
    """
    context.tell(leases.enter_phase, "checking")
    dataset_id = DatasetId(str(context.job.dataset_id))
    thumbnails = context.artifacts.thumbnails_folder(dataset_id)
    thumbnails.mkdir(parents=True, exist_ok=True)
    check = partial(_check, context, dataset_id, photos.folder, thumbnails)
    writer = ProgressWriter(context, phase="checking", span=(photos.share_done, 1.0))
    return for_each(context, writer, check, labelled)


def _check(
    context: Context, dataset_id: DatasetId, folder: Path, thumbnails: Path, labelled: Labelled
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
        fingerprint=fingerprint(image),
        usable=True,
    )
