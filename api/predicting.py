"""Predictions that a request waits for: a job that exists for as long as the request does."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool

from api import side_jobs
from api.auth import Caller
from api.deletion import delete_folder
from api.predict_body import SentImage
from api.services import Services
from jobs import store, verbs
from jobs.artifacts import Artifacts
from jobs.errors import InvalidTransitionError, NotFoundError
from jobs.ids import JobId, new_job_id
from jobs.job import QUEUE_OF, Job, JobType
from jobs.models import Model
from jobs.spec import PredictSpec
from jobs.store import Chain

WAIT_S = 30.0
_QUEUE = QUEUE_OF[JobType.PREDICT]
_PRIORITY = 9


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
    job_id = new_job_id()
    try:
        folder = services.artifacts.inputs_folder(job_id)
        await run_in_threadpool(_write, services.artifacts, folder, images)
        spec = PredictSpec(model=model.id, images=len(images), priority=_PRIORITY)
        job = await run_in_threadpool(_submit, services, caller, spec, job_id)
        job = await side_jobs.ended(services, job, WAIT_S)
        if not job.is_terminal:
            detail = f"the prediction was not done within {WAIT_S:g} s"
            raise side_jobs.no_workers(f"{detail}; the worker of the queue {_QUEUE!r} is busy")
        fault = "the photos could not be predicted"
        side_jobs.require_success(job, what="the prediction", fault=fault)
        return list(job.result["images"])
    finally:
        # a client that hung up has ended this task, and still nothing may be left
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(_forget, services, job_id)


def _write(artifacts: Artifacts, folder: Path, images: Sequence[SentImage]) -> None:
    folder.mkdir(parents=True)
    files = [folder / str(place) for place in range(len(images))]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(image.content)
    artifacts.store.keep(files)


def _submit(services: Services, caller: Caller, spec: PredictSpec, job_id: JobId) -> Job:
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
    """The photos are gone, and so is the job; one that still runs ends cancelled and goes later."""
    delete_folder(services.artifacts, services.artifacts.inputs_folder(job_id))
    with suppress(InvalidTransitionError, NotFoundError):
        verbs.cancel(services.database, job_id)
    with suppress(InvalidTransitionError, NotFoundError):
        store.delete_job(services.database, job_id)
        delete_folder(services.artifacts, services.artifacts.job_folder(job_id))
