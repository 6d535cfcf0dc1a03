"""Per-sample cross-entropy of a model on one part of a dataset."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from jobs import models
from jobs.spec import EvaluationSpec
from ml.device import environment, resolve_precision
from ml.train import EVALUATING
from worker.context import Context, Ending
from worker.failures import JobFailedError
from worker.halving import halved_if_too_large, pieces_of, pieces_values
from worker.ledger import Evaluated, samples_entry, write_ledger
from worker.resolved import devices_values, environment_values
from worker.runners.scoring import scored
from worker.runners.training import (
    ALL_PARTS,
    Material,
    prepare_device,
    read_material,
    take_place,
)


def run(context: Context) -> Ending:
    """The ledger of the part exists and its mean is the reported loss.

    Raises:
        JobFailedError: the part has no photo, or none that is scored.
        LabelsMismatchError: the dataset has labels that are scored as no class.
        MlError: the model or a photo cannot be read, or the job was broken off.
    """
    spec = EvaluationSpec.model_validate(context.job.spec)
    model = models.get(context.database, spec.model)
    place = take_place(context)
    device = prepare_device(context, place)
    material = read_material(context, classes=model.classes, mapping=spec.label_mapping)
    part = material.part(spec.split)
    left_out = _left_out(material, spec.split)
    if not part.items:
        raise _no_photo(context, spec, is_left_out=bool(left_out))
    with halved_if_too_large(context, spec, len(part.photos)):
        logits = scored(context, spec, model, part, place, phase=EVALUATING)
    if not context.seat.is_first:
        return Ending()
    path = context.folder / f"samples-{spec.split}.parquet"
    totals = write_ledger(
        path,
        Evaluated(
            items=part.items,
            classes=material.classes,
            labels=np.array([photo.label for photo in part.photos], np.int64),
            logits=logits,
            dataset_labels=[str(item.label) for item in part.items] if spec.label_mapping else None,
        ),
    )
    context.artifacts.store.keep([path])
    return Ending(
        values={
            "resolved": {
                **_used(spec, device),
                **devices_values(spec),
                **pieces_values(spec, len(part.photos), pieces_of(context.job)),
            },
            "result": {
                "classes": list(material.classes),
                "samples": {spec.split: samples_entry(context.artifacts, path, totals)},
                "reported_loss": totals.mean_loss,
                "left_out": left_out,
            },
        },
    )


def _used(spec: EvaluationSpec, device: torch.device) -> Mapping[str, Any]:
    precision = resolve_precision(spec.precision, device)
    used = environment(precision=precision, batch_size=spec.batch_size, device=device)
    return environment_values(used, batch_size=spec.batch_size, precision=spec.precision)


def _left_out(material: Material, split: str) -> Mapping[str, Mapping[str, int]]:
    return {
        name: counts for name, counts in material.left_out.items() if split in {name, ALL_PARTS}
    }


def _no_photo(context: Context, spec: EvaluationSpec, *, is_left_out: bool) -> JobFailedError:
    part = f"the part {spec.split!r} of dataset {context.job.dataset_id}"
    if is_left_out:
        detail = f"label_mapping leaves out every photo of {part}"
        return JobFailedError("too_few_images", detail, "map a label to a class")
    return JobFailedError("too_few_images", f"{part} has no photo", "choose another split")
