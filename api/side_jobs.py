"""Jobs that an answer waits for: whether somebody is there to do them, how they end."""

import asyncio

from api.problems import KINDS, RETRY_AFTER_S, Problem
from api.services import Services
from jobs import presence
from jobs.job import Job, JobState

_NO_WORKER_RETRY_S = 10


def require_worker(services: Services, queue: str, *, purpose: str) -> None:
    """Somebody serves the queue.

    Without a worker nothing should be queued: it would be done when nobody wants it any more.

    Raises:
        Problem: nobody does.
    """
    if not any(worker.queue == queue for worker in presence.present(services.database)):
        raise no_workers(f"no worker of the queue {queue!r} is there to {purpose}")


def no_workers(detail: str) -> Problem:
    """Nobody is there to do it, or nobody had the time."""
    headers = {"Retry-After": str(_NO_WORKER_RETRY_S)}
    return Problem("no_workers", detail, headers=headers)


async def ended(services: Services, job: Job, wait_s: float) -> Job:
    """The job once it has ended, or as it is when the time is over; nothing is held meanwhile.

    Raises:
        NotFoundError: the job was deleted meanwhile.
    """
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + wait_s
    while not job.is_terminal and loop.time() < deadline_s and not services.feed.is_ending:
        job = await services.feed.until_changed(job, deadline_s - loop.time())
    return job


def require_success(job: Job, *, what: str, fault: str) -> None:
    """The ended job has succeeded.

    Raises:
        Problem: it failed, for a reason that the problem has, or was cancelled.
    """
    if job.state == JobState.SUCCEEDED:
        return
    if job.error is None:
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        detail = f"{what}, job {job.id}, was cancelled; ask again"
        raise Problem("result_not_ready", detail, headers=headers, members={"job_id": job.id})
    code = job.error["code"] if job.error["code"] in KINDS else "internal"
    detail = f"{fault}: {job.error['message']}"
    raise Problem(code, detail, members={"job_id": job.id, "error": dict(job.error)})
