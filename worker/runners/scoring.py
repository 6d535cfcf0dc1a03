"""A model's logits of one part of a dataset, for jobs that train nothing."""

from contextlib import closing

from jobs.models import Model
from jobs.spec import EvaluationSpec, PredictionSpec
from ml.agreement import heard_by_all
from ml.evaluate import Logits, predict_logits
from ml.model_file import load_model
from worker.context import Context
from worker.halving import photos_at_once
from worker.listener import JobListener
from worker.runners.pixels import all_there, photos_named, validation_pixels
from worker.runners.training import Part, Workplace, tell_precision


def scored(  # each is a plain fact that callers hold separately
    context: Context,
    spec: EvaluationSpec | PredictionSpec,
    model: Model,
    part: Part,
    place: Workplace,
    *,
    phase: str,
) -> Logits:
    """The logits of the part's photos in their order; ``phase`` is what the job shows meanwhile.

    Raises:
        CheckpointCorruptError: the model's file is not what was written.
        JobFailedError: a photo has changed since the import or cannot be read.
        StoppedError: the job is to end.
    """
    listener = JobListener(context)
    listener.phase("presizing")
    classifier, card = load_model(context.model_file(model))
    opened = validation_pixels(context, part, card)
    with (
        photos_named([part]),
        closing(all_there(context, opened, listener)) as pixels,
    ):
        listener.phase(phase)
        return predict_logits(
            classifier.to(place.device),
            pixels,
            part.photos,
            size=card.size,
            batch_size=photos_at_once(spec, context.job),
            precision=tell_precision(spec.precision, place.device, listener),
            device=place.device,
            command=heard_by_all(listener, place.ranks).command,
            ranks=place.ranks,
        )
