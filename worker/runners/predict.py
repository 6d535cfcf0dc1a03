"""Predicts a few photos that a request brought along, in a process that keeps models loaded."""

import shutil
from functools import cache
from typing import Any

import torch

from jobs import models
from jobs.errors import NotFoundError
from jobs.models import Model
from jobs.spec import PredictSpec
from ml.errors import UnreadableImageError
from ml.evaluate import Logits
from ml.predict import predict_files
from worker.context import Context, Ending
from worker.failures import JobFailedError
from worker.model_cache import ModelCache

_MEBIBYTE = 2**20


def run(context: Context) -> Ending:
    """The job's result has the logits of each photo, or why it cannot be read.

    Raises:
        JobFailedError: the model was deleted.
        MlError: its file is damaged.
    """
    spec = PredictSpec.model_validate(context.job.spec)
    model = _model(context, spec)
    torch.set_num_threads(context.settings.compute_threads)
    loaded = _models(context.settings.model_cache_mb).get(context.model_file(model), model.digest)
    folder = context.artifacts.inputs_folder(context.job.id)
    sent = [folder / str(place) for place in range(spec.images)]
    context.artifacts.store.fetch(sent)
    found = predict_files(
        *loaded,
        sent,
        threads=context.settings.compute_threads,
        max_pixels=context.settings.max_pixels,
    )
    if context.artifacts.store.is_apart:
        # these are copies; whoever sent the photos removes what they were sent by
        shutil.rmtree(folder, ignore_errors=True)
    return Ending(values={"result": {"images": [_told(each) for each in found]}})


@cache
def _models(most_mb: int) -> ModelCache:
    """Those of this process, for as long as it lives."""
    return ModelCache(most_mb * _MEBIBYTE)


def _model(context: Context, spec: PredictSpec) -> Model:
    try:
        return models.get(context.database, spec.model)
    except NotFoundError as deleted:
        raise JobFailedError("not_found", f"model {spec.model} was deleted") from deleted


def _told(found: Logits | UnreadableImageError) -> dict[str, Any]:
    return (
        {"reason": found.reason}
        if isinstance(found, UnreadableImageError)
        else {"logits": found.tolist()}
    )
