"""A model's card: all that is worth knowing of it when its job and its dataset are long gone."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from jobs.job import Job
from ml.model_file import ModelCard
from worker.ledger import Totals

_LIBRARIES = ("torch", "torchvision", "decoder")


def card_values(
    card: ModelCard,
    job: Job,
    totals: Totals | None,
    *,
    resolved: Mapping[str, Any],
    dataset_digest: str | None,
    parent_id: str | None,
) -> dict[str, Any]:
    """The card of the model that the job has made, as JSON; ``totals`` are of the valid part."""
    return {
        **asdict(card),
        "metrics": _metrics(totals),
        "dataset_digest": dataset_digest,
        "hyperparameters": dict(job.spec),
        "resolved": dict(resolved),
        "versions": {
            "service": version("tunesmith"),
            **{name: resolved[name]["value"] for name in _LIBRARIES},
        },
        "parent_id": parent_id,
    }


def _metrics(totals: Totals | None) -> dict[str, Any]:
    if totals is None:
        return {}
    return {"valid_loss": totals.mean_loss, "accuracy": totals.accuracy, "count": totals.count}
