"""What a job really used, value by value, each with its origin: ``job.resolved``."""

from collections.abc import Mapping
from typing import Any

from jobs.hyperparameters import LearningRatePerGroup, LearningRateRange
from jobs.scoring_fields import ScoringFields
from jobs.spec import FineTuneSpec
from ml.config import FineTuneConfig
from ml.theory import batch_counts
from worker.findings import FoundModel, FoundRate


def environment_values(
    environment: Mapping[str, str | int], *, batch_size: int, precision: str
) -> dict[str, Any]:
    """What decided bits beside the request; what differs from it says who decided otherwise."""
    origins = {
        "batch_size": "request" if environment["batch_size"] == batch_size else "dataset",
        "devices": "request",
        "precision": "request" if environment["precision"] == precision else "hardware",
        "pixels_in": "hardware",
        "compile": "hardware",
    }
    return {
        name: {"value": value, "origin": origins.get(name, "environment")}
        for name, value in environment.items()
    }


def devices_values(spec: ScoringFields) -> dict[str, Any]:
    """How many devices shared each batch, where that was asked for; else nothing."""
    return {} if spec.devices == 1 else {"devices": {"value": spec.devices, "origin": "request"}}


def weights_values(found: FoundModel | None) -> dict[str, Any]:
    """Which model training began with, as asked, and whether its head was kept; else nothing."""
    if found is None:
        return {}
    value = {**found.asked.model_dump(), "head": "kept" if found.keeps_head else "new"}
    return {"weights": {"value": value, "origin": "fine_tune", "job_id": found.job_id}}


def accumulate_values(spec: FineTuneSpec, photos: int) -> dict[str, Any]:
    """How many batches make one step, where that was asked for; else nothing."""
    if spec.accumulate == 1:
        return {}
    used = batch_counts.fitting(
        photos, batch_size=spec.batch_size, accumulate=spec.accumulate
    ).accumulate
    origin = "request" if used == spec.accumulate else "dataset"
    return {"accumulate": {"value": used, "origin": origin}}


def kept_values(epoch: int | None) -> dict[str, Any]:
    """Which epoch the model is of, where the best one is kept; else nothing."""
    return {} if epoch is None else {"kept_epoch": {"value": epoch, "origin": "checkpoint"}}


def learning_rate_values(
    spec: FineTuneSpec, config: FineTuneConfig, found: FoundRate | None
) -> dict[str, Any]:
    """The base rate and where it came from, and the peak of every layer group in both phases."""
    frozen, unfrozen = list(config.frozen_peaks), list(config.unfrozen_peaks)
    return {
        "learning_rate": {"value": frozen[-1], **_origin(found)},
        "frozen_peaks": {"value": frozen, "origin": "learning_rate"},
        "unfrozen_peaks": {
            "value": unfrozen,
            "origin": "request" if _is_spread(spec) else "learning_rate",
        },
    }


def _origin(found: FoundRate | None) -> dict[str, str]:
    if found is None:
        return {"origin": "request"}
    return {"origin": "lr_find", "job_id": found.job_id, "rule": found.rule}


def _is_spread(spec: FineTuneSpec) -> bool:
    return isinstance(spec.learning_rate, LearningRateRange | LearningRatePerGroup)
