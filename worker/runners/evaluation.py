"""Per-sample cross-entropy of a model on one part of a dataset."""

from contextlib import closing

import numpy as np
import torch

from jobs import models
from jobs.spec import EvaluationSpec
from ml.evaluate import Logits, predict_logits
from ml.model_file import load_model
from ml.train import EVALUATING
from worker.context import Context, Ending
from worker.failures import JobFailedError
from worker.ledger import Evaluated, samples_entry, write_ledger
from worker.listener import JobListener
from worker.runners.training import Part, prepare_device, presized, read_material, tell_precision


def run(context: Context) -> Ending:
    """The ledger of the part exists and its mean is the reported loss.

    Raises:
        JobFailedError: the part has no photo.
        MlError: the model or a photo cannot be read, or the job was broken off.
    """
    spec = EvaluationSpec.model_validate(context.job.spec)
    model = models.get(context.database, spec.model)
    device = prepare_device(context)
    material = read_material(context, classes=model.classes)
    part = material.part(spec.split)
    if not part.items:
        raise JobFailedError(
            "too_few_images",
            f"the part {spec.split!r} of dataset {context.job.dataset_id} has no photo",
            "choose another split",
        )
    logits = _logits(context, spec, model, part, device)
    path = context.folder / f"samples-{spec.split}.parquet"
    totals = write_ledger(
        path,
        Evaluated(
            items=part.items,
            classes=material.classes,
            labels=np.array([photo.label for photo in part.photos], np.int64),
            logits=logits,
        ),
    )
    return Ending(
        values={
            "result": {
                "classes": list(material.classes),
                "samples": {spec.split: samples_entry(context.artifacts, path, totals)},
                "reported_loss": totals.mean_loss,
            }
        },
    )


def _logits(
    context: Context,
    spec: EvaluationSpec,
    model: models.Model,
    part: Part,
    device: torch.device,
) -> Logits:
    listener = JobListener(context)
    listener.phase("presizing")
    classifier, card = load_model(context.artifacts.absolute(model.path))
    opened = presized(context, part, card.presize, listener, mode=card.presize_mode)
    with closing(opened) as pixels:
        listener.phase(EVALUATING)
        return predict_logits(
            classifier.to(device),
            pixels,
            part.photos,
            size=card.size,
            batch_size=spec.batch_size,
            precision=tell_precision(spec.precision, device, listener),
            device=device,
            command=listener.command,
        )
