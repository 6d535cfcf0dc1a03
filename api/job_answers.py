"""A job as an answer: the resource, its entity tag, and the 202 of a job just submitted."""

import time
from collections.abc import Callable, Sequence

from fastapi import Response
from sqlalchemy import Connection

from api.auth import Caller
from api.idempotency import Once
from api.problems import RETRY_AFTER_S
from api.schemas.jobs import JobResource, Standing, WaitsFor
from api.services import Services
from jobs import dependencies, quotas, store, submission
from jobs.idempotency import StoredAnswer
from jobs.job import QUEUE_OF, Job, JobState
from jobs.submission import RunSpec, Submitted

Queue = Callable[[Connection], Submitted]
"""Queues jobs as part of a transaction."""


def job_resource(services: Services, job: Job) -> JobResource:
    """The job as a client sees it now."""
    return job_resources(services, [job])[0]


def read_job(services: Services, job_id: str) -> tuple[Job, JobResource]:
    """The job at one moment, and as a client sees it then.

    Raises:
        NotFoundError: no job has this id.
    """
    with services.database.read() as connection:
        job = store.fetch(connection, job_id)
        return job, _resources(connection, [job])[0]


def job_resources(services: Services, jobs: Sequence[Job]) -> list[JobResource]:
    """The jobs as a client sees them now, in the same order."""
    with services.database.read() as connection:
        return _resources(connection, jobs)


def _resources(connection: Connection, jobs: Sequence[Job]) -> list[JobResource]:
    job_ids = [job.id for job in jobs]
    queued = [job.id for job in jobs if job.state == JobState.QUEUED]
    places = store.queue_positions(connection, queued)
    needed = dependencies.of_jobs(connection, job_ids)
    waiting = dependencies.waiting(connection, list(needed))
    now_ms = int(time.time() * 1000)
    return [
        JobResource.of(
            job,
            Standing(
                position=places.get(job.id),
                depends_on=needed.get(job.id, ()),
                waits_for=_waits_for(job, is_behind=job.id in waiting, now_ms=now_ms),
            ),
            now_ms=now_ms,
        )
        for job in jobs
    ]


def _waits_for(job: Job, *, is_behind: bool, now_ms: int) -> WaitsFor:
    if is_behind:
        return "dependency"
    return "back_off" if job.not_before_ms > now_ms else "worker"


def etag_of(job: JobResource, event_seq: int) -> str:
    """A weak tag that changes with each event, each edit and each step up the queue."""
    place = "" if job.queue is None else f"-{job.queue.position}-{job.queue.waiting_for[0]}"
    return f'W/"{event_seq}-{job.version}{place}"'


def answer_of(services: Services, job: Job) -> StoredAnswer:
    """The job as a body."""
    body = job_resource(services, job).model_dump_json()
    return StoredAnswer(status=200, headers={}, body=body)


def _accepted(connection: Connection, job: Job) -> StoredAnswer:
    headers = {"Location": f"/v1/jobs/{job.id}", "Retry-After": str(RETRY_AFTER_S)}
    body = _resources(connection, [job])[0].model_dump_json()
    return StoredAnswer(status=202, headers=headers, body=body)


def in_progress(services: Services, job: Job) -> Response:
    """The answer while a job makes what was asked for: 202, to ask again in a moment."""
    return Response(
        job_resource(services, job).model_dump_json(),
        status_code=202,
        media_type="application/json",
        headers={"Location": f"/v1/jobs/{job.id}", "Retry-After": str(RETRY_AFTER_S)},
    )


def submit(
    services: Services, caller: Caller, once: Once, *, checked: Callable[[], RunSpec]
) -> Response:
    """The job is queued once for all equal requests, and the queue of what runs first is rung.

    ``checked`` says what is queued, unless the answer is there already; what it raises goes to
    the client.
    """

    def prepare() -> Queue:
        spec = checked()
        return lambda connection: submission.submit(connection, spec, owner=caller.owner)

    return queue_once(services, once, prepare)


def queue_once(services: Services, once: Once, prepare: Callable[[], Queue]) -> Response:
    """As `submit`, for jobs that ``prepare`` finds out how to queue."""
    replay = once.replayed()
    if replay is not None:
        return replay
    queue = prepare()
    queued: list[Job] = []

    def act(connection: Connection) -> StoredAnswer:
        submitted = queue(connection)
        quotas.require_within(connection, services.settings, submitted.job.owner)
        queued.extend((*submitted.before, submitted.job))
        return _accepted(connection, submitted.job)

    return once.create(
        act, then=lambda: services.doorbell.ring(QUEUE_OF[queued[0].type], queued[0].id)
    )
