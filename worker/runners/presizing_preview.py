"""Presizing beside two other ways, on photos of a dataset with the same draws."""

from collections import Counter
from collections.abc import Sequence

from jobs import leases
from jobs.dataset_spec import DatasetSpec
from jobs.spec import PresizingPreviewSpec
from ml.theory.splits import shuffled
from worker.context import Context, Ending
from worker.failures import JobFailedError
from worker.findings import found_dataset
from worker.items import Item, read_items
from worker.keeping import fetch
from worker.translate import preview_config

COMPARING = "comparing"


def run(context: Context) -> Ending:
    """The pictures of each way are in files, their numbers are the job's result.

    Raises:
        JobFailedError: the dataset was deleted, or none of the photos can be read.
        StoppedError: it was broken off.
    """
    # a worker that only imports datasets never loads a tensor library
    from worker.presizing import compare

    spec = PresizingPreviewSpec.model_validate(context.job.spec)
    dataset = found_dataset(context)
    source = DatasetSpec.model_validate(dataset.spec).source
    chosen = _chosen(spec, read_items(context.items_file(dataset.id)))
    folder = context.photos_folder(dataset.id, source)
    context.tell(leases.enter_phase, COMPARING)
    fetch(context, [folder / item.path for item, _ in chosen], before=COMPARING)
    compared = compare(context, preview_config(spec), chosen, folder)
    context.artifacts.store.keep(sorted(context.folder.glob("*.png")))
    pictures = context.artifacts.relative(context.folder)
    return Ending(values={"result": {"presizing_preview": compared, "pictures": pictures}})


def _chosen(spec: PresizingPreviewSpec, items: Sequence[Item]) -> list[tuple[Item, int]]:
    """Photos with their places in their parts: those named, in that order, or as the seed draws."""
    places = _places(items)
    if isinstance(spec.images, int):
        train = [item for item in items if item.split == "train"]
        drawn = sorted(shuffled(len(train), spec.seed)[: spec.images])
        return [(train[place], place) for place in drawn]
    by_id = {item.item_id: item for item in items}
    missing = [item_id for item_id in spec.images if item_id not in by_id]
    if missing:
        raise JobFailedError("not_found", f"the dataset has no photo {missing[0]!r}")
    return [(by_id[item_id], places[item_id]) for item_id in spec.images]


def _places(items: Sequence[Item]) -> dict[str, int]:
    """Item id -> its place among the photos of its part, by which trainings count."""
    counts: Counter[str | None] = Counter()
    places = {}
    for item in items:
        places[item.item_id] = counts[item.split]
        counts[item.split] += 1
    return places
