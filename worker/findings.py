"""What the jobs that a run depends on have made for it: a dataset, a learning rate, a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import datasets, models, store
from jobs.datasets import Dataset
from jobs.errors import NotFoundError
from jobs.hyperparameters import (
    AUTO,
    LearningRateFromJob,
    TrainedWeights,
    WeightsFromJob,
    WeightsFromModel,
)
from jobs.job import Job, JobType
from jobs.models import Model
from jobs.spec import FineTuneSpec, LrFindSpec
from ml.theory.lr_recommendation import DEFAULT
from worker.context import Context
from worker.failures import JobFailedError

DEFAULT_RULE = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRate:
    """The rate that a learning-rate find's rule suggests; ``default`` where it said nothing."""

    lr: float
    job_id: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundModel:
    """The model that ``asked`` for weights led to; its head fits if the classes are the same."""

    asked: TrainedWeights
    file: Path
    job_id: str
    model_id: str
    keeps_head: bool


def found_dataset(context: Context) -> Dataset:
    """The dataset that the job runs on.

    Raises:
        JobFailedError: it was deleted.
    """
    dataset_id = str(context.job.dataset_id)
    try:
        return datasets.get(context.database, dataset_id)
    except NotFoundError as deleted:
        raise _deleted(
            f"dataset {dataset_id}", "register it again, then submit the job again"
        ) from deleted


def found_rate(context: Context, spec: FineTuneSpec) -> FoundRate | None:
    """The rate that another job found; None when the request gives it.

    A later attempt takes what the first one has recorded: it may be all that is left of it.

    Raises:
        JobFailedError: that job was deleted, or its rule found nothing.
    """
    asked = spec.learning_rate
    recorded = context.job.resolved.get("learning_rate", {})
    if "job_id" in recorded:
        return FoundRate(lr=recorded["value"], job_id=recorded["job_id"], rule=recorded["rule"])
    if isinstance(asked, LearningRateFromJob):
        return _rate_of(_find(context, asked.from_job), asked.rule)
    if asked == AUTO:
        find = store.made_for(context.database, context.job.id, JobType.LR_FIND)
        if find is None:
            raise _deleted("the learning-rate find of this job")
        return _rate_of(find, "recommended", otherwise=DEFAULT)
    return None


def found_model(
    context: Context, spec: LrFindSpec | FineTuneSpec, classes: Sequence[str]
) -> FoundModel | None:
    """The model that training begins with; None when its weights come from elsewhere.

    Raises:
        JobFailedError: the model was deleted.
    """
    asked = spec.weights
    if not isinstance(asked, WeightsFromJob | WeightsFromModel):
        return None
    model = _asked_model(context, asked)
    return FoundModel(
        asked=asked,
        file=context.model_file(model),
        job_id=model.job_id,
        model_id=model.id,
        keeps_head=tuple(model.classes) == tuple(classes),
    )


def _asked_model(context: Context, asked: TrainedWeights) -> Model:
    if isinstance(asked, WeightsFromJob):
        model = models.made_by(context.database, asked.from_job)
        if model is None:
            raise _deleted(f"the model of job {asked.from_job}")
        return model
    try:
        return models.get(context.database, asked.model)
    except NotFoundError as deleted:
        raise _deleted(f"model {asked.model}") from deleted


def _rate_of(find: Job, rule: str, *, otherwise: float | None = None) -> FoundRate:
    curve: dict[str, Any] = find.result["lr_curve"]
    found = curve["recommended"] if rule == "recommended" else curve["suggestions"].get(rule)
    if found is None and otherwise is not None:
        return FoundRate(lr=otherwise, job_id=find.id, rule=DEFAULT_RULE)
    if found is None:
        raise JobFailedError(
            "dependency_failed",
            f"the rule {rule!r} found no rate in the learning-rate find {find.id}",
            "look at its lr-curve, then submit the job with another rule or with a number",
        )
    return FoundRate(lr=float(found["lr"]), job_id=find.id, rule=rule)


def _find(context: Context, job_id: str) -> Job:
    try:
        return store.get(context.database, job_id)
    except NotFoundError as deleted:
        raise _deleted(f"job {job_id}") from deleted


def _deleted(
    what: str, hint: str = "submit the job again with a value, or with another job"
) -> JobFailedError:
    return JobFailedError("dependency_failed", f"{what} was deleted before this job began", hint)
