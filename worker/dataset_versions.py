"""Makes a version of a dataset: its items with other labels, and the same bytes under new names.

Photos and thumbnails are hard links. The file system counts who still needs the bytes, so parent
and version can be deleted in any order.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jobs import leases
from jobs.artifacts import Artifacts, published
from jobs.dataset_spec import PathSource, Source
from jobs.datasets import ImportOutcome
from jobs.version_spec import VersionOf
from worker.break_off import for_each
from worker.context import Context
from worker.failures import JobFailedError
from worker.import_report import outcome_of, refuse_too_little
from worker.items import Item, read_items
from worker.keeping import fetch
from worker.progress import ProgressWriter

LINKING = "linking"

_SHOWN = 1000

Changes = Mapping[str, Any]
"""What a version differs in from its parent, as the report tells it."""


def version_of(
    context: Context, asked: VersionOf, source: Source
) -> tuple[list[Item], ImportOutcome]:
    """The version's items, whose photos and thumbnails are in its own folder.

    Raises:
        JobFailedError: too little is left to train on, or the parent's files are gone.
        StoppedError: it was broken off.
    """
    try:
        before = read_items(context.items_file(asked.parent))
        items = changed(before, asked)
        refuse_too_little(items)
        context.tell(leases.enter_phase, LINKING)
        _share(context, asked.parent, source, [item for item in items if item.usable])
    except FileNotFoundError as gone:
        raise JobFailedError(
            "source_unreachable",
            f"{gone.filename!r} of dataset {asked.parent} is gone from the artifact store",
            "restore the artifact store, or register the photos again",
        ) from gone
    return items, outcome_of(items, changes=changes_of(before, items))


# --- items ----------------------------------------------------------------------------------


def changed(items: Sequence[Item], asked: VersionOf) -> list[Item]:
    """The items without those that are left out, with their new labels, in the same order."""
    label_of = {each.item: each.label for each in asked.relabel}
    excluded = frozenset(asked.exclude)
    return [
        replace(item, label=label_of.get(item.item_id, item.label))
        for item in items
        if item.item_id not in excluded
    ]


def changes_of(before: Sequence[Item], after: Sequence[Item]) -> Changes:
    """The differences between a dataset and its version: the first 1,000 of each kind."""
    kept = {item.item_id: item for item in after}
    excluded = [item for item in before if item.item_id not in kept]
    pairs = [(item, kept[item.item_id]) for item in before if item.item_id in kept]
    relabelled = [(old, new) for old, new in pairs if old.label != new.label]
    old_classes, new_classes = _classes(before), _classes(after)
    return {
        "relabelled": {
            "count": len(relabelled),
            "items": [_relabelled(old, new) for old, new in relabelled[:_SHOWN]],
        },
        "excluded": {
            "count": len(excluded),
            "items": [_excluded(item) for item in excluded[:_SHOWN]],
        },
        "new_classes": sorted(new_classes - old_classes)[:_SHOWN],
        "gone_classes": sorted(old_classes - new_classes)[:_SHOWN],
    }


def _classes(items: Sequence[Item]) -> set[str]:
    return {str(item.label) for item in items if item.split is not None}


def _relabelled(old: Item, new: Item) -> dict[str, Any]:
    return {
        "item_id": old.item_id,
        "path": old.path,
        "split": old.split,
        "from": old.label,
        "to": new.label,
    }


def _excluded(item: Item) -> dict[str, Any]:
    return {
        "item_id": item.item_id,
        "path": item.path,
        "split": item.split,
        "label": item.label,
    }


# --- files ----------------------------------------------------------------------------------


def _share(context: Context, parent: str, source: Source, items: Sequence[Item]) -> None:
    own, artifacts = str(context.job.dataset_id), context.artifacts
    writer = ProgressWriter(context, phase=LINKING)
    thumbnails = artifacts.thumbnails_folder(own)
    thumbnails.mkdir(parents=True, exist_ok=True)
    made = _thumbnails(artifacts, parent, items)
    fetch(context, made, before=LINKING)
    for_each(context, writer, lambda file: _link(file, thumbnails / file.name), made)
    photos = artifacts.photos_folder(own)
    # photos in a folder of the client's are read in place; those of an earlier attempt are there
    if not isinstance(source, PathSource) and not photos.is_dir():
        unfinished = artifacts.partial_photos_folder(own, context.job.fence)
        shutil.rmtree(unfinished, ignore_errors=True)
        folder = artifacts.photos_folder(parent)
        fetch(context, [folder / item.path for item in items], before=LINKING)
        link = partial(_link_photo, folder, unfinished)
        for_each(context, writer, link, items)
        _put_in_place(unfinished, photos)


def _thumbnails(artifacts: Artifacts, dataset_id: str, items: Sequence[Item]) -> list[Path]:
    kept = {item.item_id for item in items}
    files = artifacts.store.found(artifacts.thumbnails_folder(dataset_id), "itm_*.jpg")
    return [file for file in files if file.name.partition("-")[0] in kept]


def _link_photo(folder: Path, into: Path, item: Item) -> None:
    file = into / item.path
    file.parent.mkdir(parents=True, exist_ok=True)
    _link(folder / item.path, file)


def _link(file: Path, name: Path) -> None:
    """The same bytes have this name, too; copied where no (further) link can be had."""
    try:
        os.link(file, name)
    except FileExistsError:  # an earlier attempt has made it
        return
    except FileNotFoundError:
        raise
    except OSError:
        with published(name) as temporary:
            shutil.copyfile(file, temporary)


def _put_in_place(folder: Path, photos: Path) -> None:
    # one call for all names: a call for each would take longer than linking them
    os.sync()
    try:
        folder.rename(photos)
    except OSError:
        # an attempt that was thought dead was faster, with the same photos
        if not photos.is_dir():
            raise
        shutil.rmtree(folder, ignore_errors=True)
