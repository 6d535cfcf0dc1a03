"""A finished job done again: what would be asked for now, checked as in a new request."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from api.admission import check_import, check_training_on, checked_fine_tune, checked_lr_find
from api.auth import Caller
from api.evaluation_admission import checked_evaluation, checked_prediction
from api.preview_admission import checked_presizing_preview
from api.problems import Problem
from api.references import invalid
from api.schemas.jobs import JobRetry
from api.services import Services
from api.validation import validation_problem
from api.version_admission import check_version
from jobs import models, retries, store
from jobs.dataset_spec import DatasetSpec, Spec
from jobs.job import Job, JobState, JobType
from jobs.models import Model
from jobs.retries import Body
from jobs.spec import (
    EvaluationSpec,
    FineTuneSpec,
    LrFindSpec,
    PredictionSpec,
    PresizingPreviewSpec,
)
from jobs.submission import RunSpec
from jobs.version_spec import VersionOf

_WHAT_CHANGES = "/overrides"


def retried(
    services: Services, caller: Caller, job_id: str, request: JobRetry
) -> tuple[Job, RunSpec | DatasetSpec | VersionOf]:
    """The job, and what a job like it with these changes asks for, which could start now.

    Raises:
        NotFoundError: no job has this id.
        InvalidTransitionError: the job is not finished, or is of a type that is not retried.
        DatasetNotReadyError: the dataset is importing, or its import failed.
        Problem: the changes make no sense, or what the job needs is gone.
    """
    job = store.get(services.database, job_id)
    retries.require_retriable(job)
    _refuse_contradictions(job, request)
    model = None if request.continue_epochs is None else _kept_model(services, job)
    spec = _spec(job, _body(services, job, request))
    try:
        spec = _checked(services, caller, spec)
        if model is not None and isinstance(spec, FineTuneSpec):
            check_training_on(services, caller, spec, model)
    except Problem as problem:
        raise _at_its_place(problem, request) from problem
    return job, spec


def _refuse_contradictions(job: Job, request: JobRetry) -> None:
    overrides = request.overrides
    if request.dataset is not None and job.type == JobType.DATASET_IMPORT:
        raise _excluded("/dataset", "an import makes a dataset; it runs on none")
    if request.dataset is not None and "dataset" in overrides:
        raise _excluded("/overrides/dataset", "dataset is given beside overrides already")
    if request.continue_epochs is None:
        return
    if job.type != JobType.FINE_TUNE:
        raise _excluded("/continue_epochs", f"a {job.type} does not train; only a fine_tune can")
    for name in retries.CONTINUED:
        if name in overrides:
            detail = (
                "continue_epochs trains the job's model on, with all layers, for so many epochs"
            )
            raise _excluded(f"/overrides/{name}", f"{detail}; leave {name} out")
    if isinstance(overrides.get("dataset"), dict):
        detail = (
            "training on needs the classes of the model: name a dataset that is ready by its id"
        )
        raise _excluded("/overrides/dataset", detail)


def _excluded(pointer: str, detail: str) -> Problem:
    return invalid(pointer, "not_allowed", detail)


def _kept_model(services: Services, job: Job) -> Model:
    if job.state != JobState.SUCCEEDED:
        detail = (
            f"job {job.id} is {job.state} and has kept no model; "
            "leave continue_epochs out to train it again from the start"
        )
        raise _excluded("/continue_epochs", detail)
    model = models.made_by(services.database, job.id)
    if model is None:
        raise invalid("/continue_epochs", "not_found", f"the model of job {job.id} is gone")
    return model


def _body(services: Services, job: Job, request: JobRetry) -> Body:
    body = retries.body_of(services.database, job)
    if request.continue_epochs is not None:
        body = retries.continuing(job, body, request.continue_epochs)
    if request.dataset is not None:
        body = {**body, "dataset": request.dataset}
    fields = retries.body_type(job).model_fields
    return retries.overridden(body, request.overrides, fields)


def _spec(job: Job, body: Body) -> Any:  # noqa: ANN401  (of the job's `body_type`)
    request = _request_with(retries.body_type(job))
    sent = {"overrides": dict(body)}
    try:
        return request.model_validate(sent).__dict__["overrides"]
    except ValidationError as wrong:
        errors: list[Mapping[str, Any]] = [
            {**error, "loc": ("body", *error["loc"])} for error in wrong.errors()
        ]
        raise validation_problem(errors, sent, request) from wrong


@cache
def _request_with(spec: type[Spec]) -> type[BaseModel]:
    """A body whose overrides are a whole spec: so its problems say where, and what is near."""
    return create_model("Overridden", overrides=(spec, ...))


def _checked(
    services: Services, caller: Caller, spec: RunSpec | DatasetSpec | VersionOf
) -> RunSpec | DatasetSpec | VersionOf:
    if isinstance(spec, FineTuneSpec):
        return checked_fine_tune(services, caller, spec)
    if isinstance(spec, LrFindSpec):
        return checked_lr_find(services, caller, spec)
    if isinstance(spec, EvaluationSpec):
        return checked_evaluation(services, caller, spec)
    if isinstance(spec, PredictionSpec):
        return checked_prediction(services, caller, spec)
    if isinstance(spec, PresizingPreviewSpec):
        return checked_presizing_preview(services, caller, spec)
    if isinstance(spec, VersionOf):
        check_version(services, caller, spec)
    else:
        check_import(services, caller, spec)
    return spec


def _at_its_place(problem: Problem, request: JobRetry) -> Problem:
    """Below overrides, where it can be mended; beside them a dataset that is not given there."""
    placed = problem.below(_WHAT_CHANGES)
    if "dataset" in request.overrides:
        return placed
    whole = f"{_WHAT_CHANGES}/dataset"
    fields = [
        field.model_copy(update={"pointer": field.pointer.removeprefix(_WHAT_CHANGES)})
        if field.pointer == whole
        else field
        for field in placed.errors
    ]
    return Problem(
        placed.code, placed.detail, errors=fields, headers=placed.headers, members=placed.members
    )
