"""Predictions that a request waits for: a job that exists for as long as the request does."""

from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool

from api import side_jobs
from api.auth import Caller
from api.deletion import delete_folder
from api.predict_body import SentImage
from api.services import Services
from jobs import store, verbs
from jobs.errors import InvalidTransitionError, NotFoundError
from jobs.ids import new_job_id
from jobs.job import QUEUE_OF, Job, JobType
from jobs.models import Model
from jobs.spec import PredictSpec
from jobs.store import Chain

WAIT_S = 30.0
_QUEUE = QUEUE_OF[JobType.PREDICT]
_PRIORITY = 9

log = structlog.get_logger(__name__)


async def predicted(
    services: Services, caller: Caller, model: Model, images: Sequence[SentImage]
) -> list[Mapping[str, Any]]:
    """Of each photo the ``logits``, or the ``reason`` why there are none.

    While it waits it holds neither a thread nor a connection. The photos and the job are gone
    afterwards, whatever comes of it.

    Raises:
        Problem: nobody is there to predict, or nobody had the time; or the prediction failed.
    """
    await run_in_threadpool(side_jobs.require_worker, services, _QUEUE, purpose="predict")
    job = await run_in_threadpool(_begin, services, caller, model, images)
    try:
        job = await side_jobs.ended(services, job, WAIT_S)
        if not job.is_terminal:
            detail = f"the prediction was not done within {WAIT_S:g} s"
            raise side_jobs.no_workers(f"{detail}; the worker of the queue {_QUEUE!r} is busy")
        fault = "the photos could not be predicted"
        side_jobs.require_success(job, what="the prediction", fault=fault)
        return list(job.result["images"])
    finally:
        await run_in_threadpool(_forget, services, job.id)


def _begin(services: Services, caller: Caller, model: Model, images: Sequence[SentImage]) -> Job:
    job_id = new_job_id()
    folder = services.artifacts.inputs_folder(job_id)
    folder.mkdir(parents=True)
    for place, image in enumerate(images):
        (folder / str(place)).write_bytes(image.content)
    spec = PredictSpec(model=model.id, images=len(images), priority=_PRIORITY)
    with services.database.write() as connection:
        job = store.submit(
            connection,
            JobType.PREDICT,
            spec,
            dataset_id=None,
            chain=Chain(job_id=job_id),
            owner=caller.owner,
        )
    services.doorbell.ring(_QUEUE, job.id)
    return job


def _forget(services: Services, job_id: str) -> None:
    """The job is gone, its photos with it; one that still runs ends cancelled and goes later."""
    try:
        verbs.cancel(services.database, job_id)
    except InvalidTransitionError:
        log.debug("prediction_over", job=job_id)
    except NotFoundError:
        return
    try:
        store.delete_job(services.database, job_id)
    except (InvalidTransitionError, NotFoundError) as problem:
        log.info("prediction_left", job=job_id, reason=str(problem))
    delete_folder(services.artifacts.job_folder(job_id))
