"""What a model says of every photo in one part of a dataset, whatever their labels."""

from pathlib import Path

from jobs import models
from jobs.artifacts import sha256_of
from jobs.dataset_spec import DatasetSpec
from jobs.spec import PredictionSpec
from ml.device import environment, resolve_precision
from ml.photos import LabelledPhoto
from worker.context import Context, Ending
from worker.failures import JobFailedError
from worker.findings import found_dataset
from worker.halving import halved_if_too_large, pieces_of, pieces_values
from worker.items import Item, read_items
from worker.prediction_ledger import write_predictions
from worker.resolved import devices_values, environment_values
from worker.runners.scoring import scored
from worker.runners.training import ALL_PARTS, Part, prepare_device, take_place

PREDICTING = "predicting"
_NO_CLASS = 0
"""Photos are read with a label, which nothing looks at here."""


def run(context: Context) -> Ending:
    """The predictions of the part exist.

    Raises:
        JobFailedError: the part has no photo.
        MlError: the model or a photo cannot be read, or the job was broken off.
    """
    spec = PredictionSpec.model_validate(context.job.spec)
    model = models.get(context.database, spec.model)
    place = take_place(context)
    device = prepare_device(context, place)
    part = _part(context, spec)
    with halved_if_too_large(context, spec, len(part.photos)):
        logits = scored(context, spec, model, part, place, phase=PREDICTING)
    if not context.seat.is_first:
        return Ending()
    path = context.folder / f"predictions-{spec.split}.parquet"
    counts = write_predictions(path, part.items, model.classes, logits)
    context.artifacts.store.keep([path])
    precision = resolve_precision(spec.precision, device)
    used = environment(precision=precision, batch_size=spec.batch_size, device=device)
    return Ending(
        values={
            "resolved": {
                **environment_values(used, batch_size=spec.batch_size, precision=spec.precision),
                **devices_values(spec),
                **pieces_values(spec, len(part.photos), pieces_of(context.job)),
            },
            "result": {
                "classes": list(model.classes),
                "predicted": counts,
                "predictions": {
                    "path": context.artifacts.relative(path),
                    "digest": sha256_of(path),
                },
            },
        },
    )


def _part(context: Context, spec: PredictionSpec) -> Part:
    dataset = found_dataset(context)
    folder = context.photos_folder(dataset.id, DatasetSpec.model_validate(dataset.spec).source)
    items = [
        item
        for item in read_items(context.items_file(dataset.id))
        if item.usable and spec.split in {item.split, ALL_PARTS}
    ]
    if not items:
        detail = f"the part {spec.split!r} of dataset {dataset.id} has no photo"
        raise JobFailedError("too_few_images", detail, "choose another split")
    return Part(items=items, photos=[_photo(item, folder / item.path) for item in items])


def _photo(item: Item, path: Path) -> LabelledPhoto:
    return LabelledPhoto(item_id=item.item_id, path=path, digest=str(item.digest), label=_NO_CLASS)
