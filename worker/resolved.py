"""What a job really used, value by value, each with its origin: ``job.resolved``."""

from collections.abc import Mapping
from typing import Any

from jobs.spec import FineTuneSpec, LearningRateFromJob
from ml.config import FineTuneConfig


def environment_values(
    environment: Mapping[str, str | int], *, batch_size: int, precision: str
) -> dict[str, Any]:
    """What decided bits beside the request; what differs from it says who decided otherwise."""
    origins = {
        "batch_size": "request" if environment["batch_size"] == batch_size else "dataset",
        "precision": "request" if environment["precision"] == precision else "hardware",
    }
    return {
        name: {"value": value, "origin": origins.get(name, "environment")}
        for name, value in environment.items()
    }


def learning_rate_values(spec: FineTuneSpec, config: FineTuneConfig) -> dict[str, Any]:
    """The base rate and where it came from, and the peak of every layer group in both phases."""
    frozen, unfrozen = list(config.frozen_peaks), list(config.unfrozen_peaks)
    return {
        "learning_rate": {"value": frozen[-1], **_origin(spec)},
        "frozen_peaks": {"value": frozen, "origin": "learning_rate"},
        "unfrozen_peaks": {
            "value": unfrozen,
            "origin": "request" if _is_spread(spec) else "learning_rate",
        },
    }


def _origin(spec: FineTuneSpec) -> dict[str, str]:
    asked = spec.learning_rate
    if isinstance(asked, LearningRateFromJob):
        return {"origin": "lr_find", "job_id": asked.from_job, "rule": asked.rule}
    return {"origin": "request"}


def _is_spread(spec: FineTuneSpec) -> bool:
    return not isinstance(spec.learning_rate, float | LearningRateFromJob)
