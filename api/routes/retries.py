"""Finished jobs done again."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.auth import Caller, CallerDep
from api.dependencies import JobIdPath, ServicesDep
from api.idempotency import OnceDep
from api.job_answers import Queue, queue_once
from api.json_body import StrictRoute
from api.problem_kinds import TRAINING_PROBLEMS
from api.problems import problem_responses
from api.retries import retried
from api.schemas.jobs import JobResource, JobRetry
from api.schemas.resource import DatasetIdExample
from api.services import Services
from jobs import submission
from jobs.dataset_spec import DatasetSpec
from jobs.version_spec import VersionOf

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"], route_class=StrictRoute)

_RETRIES = {
    "again": {"summary": "Once more, as it was", "value": {}},
    "lower_rate": {
        "summary": "With a lower rate, on another dataset",
        "value": {"dataset": DatasetIdExample, "overrides": {"learning_rate": 0.0005}},
    },
    "train_on": {"summary": "Train the model on", "value": {"continue_epochs": 3}},
}
_NOTHING_NEW = JobRetry()


@router.post(
    "/{job_id}/retry",
    operation_id="retryJob",
    summary="Do a finished job again",
    status_code=202,
    response_model=JobResource,
    responses=problem_responses(
        "not_found", "invalid_state_transition", "labels_mismatch", *TRAINING_PROBLEMS
    ),
)
def retry_job(
    services: ServicesDep,
    caller: CallerDep,
    job_id: JobIdPath,
    once: OnceDep,
    changes: Annotated[JobRetry, Body(openapi_examples=_RETRIES)] = _NOTHING_NEW,
) -> Response:
    """Queues another job that asks for the same, with changes, or trains a model on.

    Everything is checked as in a new request. Each call makes a job: to repeat one safely, send
    an Idempotency-Key.
    """

    def prepare() -> Queue:
        return _again(services, caller, job_id, changes)

    return queue_once(services, once, prepare)


def _again(services: Services, caller: Caller, job_id: str, changes: JobRetry) -> Queue:
    job, spec = retried(services, caller, job_id, changes)
    if isinstance(spec, DatasetSpec | VersionOf):
        return lambda connection: submission.import_again(connection, spec, job, owner=caller.owner)
    return lambda connection: submission.submit(
        connection, spec, owner=caller.owner, retry_of=job.id
    )
