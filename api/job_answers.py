"""A job as an answer: the resource, its entity tag, and the 202 of a job just submitted."""

import time
from collections.abc import Callable, Sequence

from fastapi import Response
from sqlalchemy import Connection

from api.idempotency import Once
from api.problems import RETRY_AFTER_S
from api.schemas.jobs import JobResource
from api.services import Services
from jobs import store
from jobs.idempotency import StoredAnswer
from jobs.job import QUEUE_OF, Job, JobState, JobType
from jobs.spec import JobSpec


def job_resource(services: Services, job: Job) -> JobResource:
    """The job as a client sees it now."""
    return job_resources(services, [job])[0]


def job_resources(services: Services, jobs: Sequence[Job]) -> list[JobResource]:
    """The jobs as a client sees them now, in the same order."""
    queued = [job for job in jobs if job.state == JobState.QUEUED]
    places = store.queue_positions(services.database, queued)
    now_ms = int(time.time() * 1000)
    return [JobResource.of(job, position=places.get(job.id), now_ms=now_ms) for job in jobs]


def etag_of(job: JobResource, event_seq: int) -> str:
    """A weak tag that changes with each event, each edit and each step up the queue."""
    position = "" if job.queue is None else f"-{job.queue.position}"
    return f'W/"{event_seq}-{job.version}{position}"'


def answer_of(services: Services, job: Job, *, status: int = 200) -> StoredAnswer:
    """The job as a body; with 202 it says where to look and when."""
    headers = {}
    if status == 202:
        headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": str(RETRY_AFTER_S)}
    body = job_resource(services, job).model_dump_json()
    return StoredAnswer(status=status, headers=headers, body=body)


def submit(
    services: Services,
    once: Once,
    job_type: JobType,
    spec: JobSpec,
    *,
    dataset_id: str,
    check: Callable[[], None],
) -> Response:
    """The job is queued once for all equal requests, and its queue is rung.

    ``check`` runs before, unless the answer is there already; what it raises goes to the client.
    """
    replay = once.replayed()
    if replay is not None:
        return replay
    check()
    queued: list[Job] = []

    def act(connection: Connection) -> StoredAnswer:
        queued.append(store.submit(connection, job_type, spec, dataset_id=dataset_id))
        return answer_of(services, queued[0], status=202)

    return once.create(act, then=lambda: services.doorbell.ring(QUEUE_OF[job_type], queued[0].id))
