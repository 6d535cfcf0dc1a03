"""What a finished job would ask for if it were asked again: its own body, with changes."""

from collections.abc import Collection, Mapping
from typing import Any

from jobs import datasets
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec, Spec
from jobs.errors import InvalidTransitionError, NotFoundError
from jobs.hyperparameters import AUTO
from jobs.job import Job, JobType, allowed_actions
from jobs.spec import (
    EvaluationSpec,
    FineTuneSpec,
    LrFindSpec,
    PredictionSpec,
    PresizingPreviewSpec,
)
from jobs.version_spec import VersionOf

Body = Mapping[str, Any]

BODY_OF: Mapping[JobType, type[Spec]] = {
    JobType.DATASET_IMPORT: DatasetSpec,
    JobType.LR_FIND: LrFindSpec,
    JobType.FINE_TUNE: FineTuneSpec,
    JobType.EVALUATION: EvaluationSpec,
    JobType.PREDICTION: PredictionSpec,
    JobType.PRESIZING_PREVIEW: PresizingPreviewSpec,
}
"""What a client sent for a job of each type that can be retried."""

CONTINUED = ("architecture", "weights", "epochs", "freeze_epochs")
"""Fields of a fine-tune that are settled when it trains on."""

_SEEDS = 2**32


def require_retriable(job: Job) -> None:
    """The job can be done again.

    Raises:
        InvalidTransitionError: it is not finished, or never is: a plot, a probe.
    """
    allowed = allowed_actions(job.type, job.state)
    if "retry" not in allowed:
        raise InvalidTransitionError(job.id, "retry", job.state, allowed)


def body_type(job: Job) -> type[Spec]:
    """What `body_of` is read as."""
    return VersionOf if job.spec.get("version") else BODY_OF[job.type]


def body_of(database: Database, job: Job) -> Body:
    """What the job was asked for, with every default and as it was edited since.

    A dataset that was given inline is the one that was made of it; it is inline again where its
    import failed.
    """
    if job.type == JobType.DATASET_IMPORT:
        request: Body = job.spec.get("version") or job.spec["request"]
        return request
    edited = {"name": job.name, "metadata": dict(job.metadata), "priority": job.priority}
    body = {**job.spec, **edited}
    if isinstance(body["dataset"], dict) and not _has_failed(database, str(job.dataset_id)):
        body["dataset"] = job.dataset_id
    return body


def _has_failed(database: Database, dataset_id: str) -> bool:
    try:
        return datasets.get(database, dataset_id).state == "failed"
    except NotFoundError:
        return False


def continuing(job: Job, body: Body, epochs: int) -> Body:
    """The body of a fine-tune that trains the job's model on for so many unfrozen epochs.

    A rate that was found for the job is the number that was found. The seed is the next one:
    with the same one these epochs would draw what the first ones drew.
    """
    rate = body["learning_rate"]
    if rate == AUTO or (isinstance(rate, dict) and "from_job" in rate):
        rate = job.resolved["learning_rate"]["value"]
    return {
        **body,
        "weights": {"from_job": job.id},
        "freeze_epochs": 0,
        "epochs": epochs,
        "learning_rate": rate,
        "seed": (body["seed"] + 1) % _SEEDS,
        "depends_on": [],
    }


def overridden(body: Body, overrides: Body, fields: Collection[str]) -> Body:
    """The body with other values; null takes one of its ``fields`` away, for its default."""
    removed = {name for name, value in overrides.items() if value is None and name in fields}
    return {name: value for name, value in {**body, **overrides}.items() if name not in removed}
