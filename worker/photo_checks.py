"""Decodes every photo of an import once: what it is, or why it cannot be used."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from jobs import leases
from jobs.disk_budget import require_free
from jobs.ids import DatasetId, item_id
from jobs.settings import Settings
from jobs.sources import paths
from worker.break_off import end_if_told, for_each
from worker.context import Context
from worker.decoder import DecodingLimits, PhotoFacts, PhotoOrder
from worker.decoder_pool import DecoderPool, UnusablePhotoError
from worker.items import UNLABELLED, Item
from worker.photo_sources import Photos
from worker.progress import ProgressWriter

_LOOK_AT_DISK_EVERY = 256

Labelled = tuple[str, str | None]
"""A name and its label; None where the rule reads none from it."""


def checked(
    context: Context, photos: Photos, labelled: Sequence[Labelled], *, needs_labels: bool
) -> list[Item]:
    """Each named photo as an item, with thumbnails if it can be used, in the same order.

    One without a label can be used only if it needs none.

    Raises:
        DiskFullError: the disk has no more room for thumbnails.
        StoppedError: it was broken off.
    """
    context.tell(leases.enter_phase, "checking")
    thumbnails = context.artifacts.thumbnails_folder(str(context.job.dataset_id))
    thumbnails.mkdir(parents=True, exist_ok=True)
    writer = ProgressWriter(context, phase="checking", span=(photos.share_done, 1.0))
    limits = _limits(context.settings)
    with DecoderPool(limits, go_on=partial(end_if_told, context)) as decoders:
        check = _Check(context, photos.folder, decoders, needs_labels=needs_labels)
        return for_each(context, writer, check, labelled)


def _limits(settings: Settings) -> DecodingLimits:
    return DecodingLimits(
        max_pixels=settings.max_pixels,
        max_bytes=settings.max_photo_bytes,
        cpu_s=settings.decode_s,
    )


class _Check:
    """From a name and its label to an item."""

    def __init__(
        self, context: Context, folder: Path, decoders: DecoderPool, *, needs_labels: bool
    ) -> None:
        self._dataset_id = DatasetId(str(context.job.dataset_id))
        self._roots = (*context.settings.dataset_roots, context.artifacts.root)
        self._folder = folder
        self._thumbnails = context.artifacts.thumbnails_folder(str(context.job.dataset_id))
        self._needs_labels = needs_labels
        self._decoders = decoders
        self._kept_free_bytes = context.settings.min_free_bytes
        self._asked = itertools.count()

    def __call__(self, labelled: Labelled) -> Item:
        name, label = labelled
        if next(self._asked) % _LOOK_AT_DISK_EVERY == 0:
            require_free(self._thumbnails, 0, kept_free_bytes=self._kept_free_bytes)
        own_id = item_id(self._dataset_id, name)
        item = Item(item_id=own_id, path=paths.printable(name), label=label)
        if label is None and self._needs_labels:
            return replace(item, reason=UNLABELLED)
        if item.path != name:
            return replace(item, reason="its path is not in UTF-8; rename it")
        order = PhotoOrder(
            path=self._folder / name,
            roots=self._roots,
            thumbnails=self._thumbnails,
            item_id=own_id,
        )
        try:
            return _usable(item, self._decoders.facts(order))
        except UnusablePhotoError as problem:
            return replace(item, reason=str(problem))


def _usable(item: Item, facts: PhotoFacts) -> Item:
    return replace(
        item,
        width=facts.info.width,
        height=facts.info.height,
        format=facts.info.format,
        mode=facts.info.mode,
        size_bytes=facts.size_bytes,
        digest=facts.digest,
        fingerprint=facts.fingerprint,
        usable=True,
    )
