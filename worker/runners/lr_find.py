"""Sweeps the learning rate and suggests rates."""

from contextlib import closing
from dataclasses import asdict
from typing import Any

from jobs.spec import LrFindSpec
from ml.lr_range import LrRangeResult, find_lr
from ml.theory.lr_suggestions import analyse
from worker.context import Context, Ending
from worker.findings import found_model
from worker.listener import Course, JobListener, finite
from worker.resolved import environment_values, weights_values
from worker.runners.training import (
    check_weights_first,
    prepare_device,
    presized,
    read_material,
    tell_precision,
)
from worker.translate import Surroundings, lr_range_config


def run(context: Context) -> Ending:
    """The curve and every rule's suggestion are the job's result.

    Raises:
        MlError: the run could not be made, or was broken off.
    """
    spec = LrFindSpec.model_validate(context.job.spec)
    device = prepare_device(context)
    material = read_material(context)
    around = Surroundings(
        num_classes=len(material.classes),
        settings=context.settings,
        model=found_model(context, spec, material.classes),
    )
    config = lr_range_config(spec, around)
    listener = JobListener(context)
    tell_precision(spec.precision, device, listener)
    train = material.part("train")
    check_weights_first(context, config.model, [train], spec.presize)
    listener.phase("presizing")
    with closing(presized(context, train, spec.presize, listener)) as pixels:
        listener.follow(Course(epochs=1, steps=spec.num_steps))
        found = find_lr(config, train.photos, pixels, listener=listener, device=device)
    listener.finish()
    used = environment_values(found.resolved, batch_size=spec.batch_size, precision=spec.precision)
    used |= weights_values(around.model)
    return Ending(values={"resolved": used, "result": {"lr_curve": _curve(spec, found)}})


def _curve(spec: LrFindSpec, found: LrRangeResult) -> dict[str, Any]:
    analysis = analyse(found.lrs, found.losses, smoothed=found.smoothed, num_steps=spec.num_steps)
    return {
        "lrs": list(found.lrs),
        "losses": [finite(loss) for loss in found.losses],
        "smoothed": [finite(loss) for loss in found.smoothed],
        "zero_lag": list(analysis.zero_lag),
        "stopped": found.stopped,
        "diverged_at_step": found.diverged_at_step,
        "suggestions": {
            rule: None if suggestion is None else asdict(suggestion)
            for rule, suggestion in analysis.suggestions.items()
        },
        "recommended": None if analysis.recommended is None else asdict(analysis.recommended),
        "warnings": [asdict(warning) for warning in analysis.warnings],
    }
