"""A process that does one short job after another and keeps what it has loaded.

A trainer is forked for one job and gives everything back by its end. A prediction takes less time
than loading a model does, so the process that predicts stays. The supervisor renews the lease of
the job in hand, replaces a process that died, and ends one that does not answer or that nobody has
asked for a while: torch and a model are half a gigabyte, too much to hold for nothing.
"""

import importlib
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

import structlog

from jobs import leases, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import LeaseLostError, NotFoundError, StoreUnavailableError
from jobs.job import LEASED_STATES, Failure, Job, JobState, JobType
from jobs.logs import configure_logging
from jobs.queue import Doorbell
from jobs.settings import Settings
from worker import forks
from worker.context import Context
from worker.control import Undisturbed
from worker.forks import Child
from worker.patience import until_answered
from worker.trainer import RUNNERS, become_a_process_of_its_own, do, end_with
from worker.watch import Parts

MOST_S = 60.0
"""Seconds for one job: whoever asked has long been told that nobody had the time."""

_LOOK_S = 0.25

log = structlog.get_logger(__name__)


class Resident:
    """The worker's end: jobs go in one after the other, exit codes never come out."""

    def __init__(self, parts: Parts, *, most_s: float = MOST_S) -> None:
        self._parts = parts
        self._most_s = most_s
        self._child: Child | None = None
        self._asked_s = time.monotonic()

    def do(self, job: Job) -> None:
        """The job is where its end says, or back in the queue."""
        child = self._ready()
        try:
            child.pipe.send((job.id, job.fence))
            answered = self._wait(child, job)
        except (BrokenPipeError, ConnectionResetError):
            answered = False
        if not answered:
            self.close()
        self._settle(job, answered=answered)
        self._parts.doorbell.happened(job.id)
        self._asked_s = time.monotonic()

    def close_if_idle(self) -> None:
        """A process that nobody has asked for ``predict_idle_s`` has given its memory back."""
        idle_s = time.monotonic() - self._asked_s
        if self._child is not None and idle_s > self._parts.settings.predict_idle_s:
            log.info("resident_ended", reason=f"not asked for {idle_s:.0f} s")
            self.close()

    def close(self) -> None:
        """The process has ended, and another one will be started when it is needed."""
        if self._child is not None:
            self._child.process.kill()
            self._child.process.join()
            self._child.let_go()
            self._child = None

    def _ready(self) -> Child:
        """The process is there, or has begun to load what it needs."""
        if self._child is None or not self._child.process.is_alive():
            self.close()
            self._child = self._start()
        return self._child

    def _start(self) -> Child:
        # not forked: this process has threads, and the template would load for those who never ask
        processes = multiprocessing.get_context("spawn")
        return forks.start_child(processes, serve, self._parts.settings, name="resident")

    def _wait(self, child: Child, job: Job) -> bool:
        """Whether the process has answered; it died, or was too slow, otherwise."""
        began_s = renewed_s = time.monotonic()
        while not wait([child.pipe, child.process.sentinel], timeout=_LOOK_S):
            now_s = time.monotonic()
            if now_s - began_s > self._most_s:
                log.warning("resident_killed", job=job.id, reason=f"above {self._most_s:g} s")
                return False
            if now_s - renewed_s > self._parts.settings.renew_s:
                self._renew(job)
                renewed_s = now_s
        try:
            return child.pipe.poll() and child.pipe.recv() == job.id
        except (EOFError, ConnectionResetError):
            return False

    def _renew(self, job: Job) -> None:
        lease_ms = int(self._parts.settings.lease_s * 1000)
        try:
            leases.renew(self._parts.database, job.id, job.fence, lease_ms=lease_ms)
        except (LeaseLostError, NotFoundError, StoreUnavailableError) as problem:
            # whatever it is, the end of the job will tell
            log.warning("not_renewed", job=job.id, reason=str(problem))

    def _settle(self, job: Job, *, answered: bool) -> None:
        """A job that its process could not end goes back, or fails when that happens again."""
        failure = Failure(
            code="worker_lost",
            message="the process that predicts died, or stood still, twice in a row",
            hint="look at the workers' logs and memory",
        )
        database = self._parts.database
        move: Callable[[], JobState] = lambda: (  # noqa: E731  (tried until it is answered)
            leases.release(database, job.id, job.fence)
            if answered
            else leases.record_crash(database, job.id, job.fence, failure)
        )
        try:
            now = until_answered(lambda: store.get(database, job.id))
            if now.fence == job.fence and now.state in LEASED_STATES:
                until_answered(move)
        except (LeaseLostError, NotFoundError) as problem:
            log.warning("fenced_off", reason=str(problem))


def serve(settings: Settings, pipe: Connection, lifeline: Connection) -> None:
    """Each job that comes through the pipe is done and answered, until the pipe is closed."""
    become_a_process_of_its_own()
    end_with(lifeline)
    importlib.import_module(RUNNERS[JobType.PREDICT])
    configure_logging("console", settings.log_level)
    database, doorbell = Database(settings.database_url), Doorbell(settings.redis_url)
    artifacts = Artifacts.of(settings)
    while True:
        try:
            job_id, fence = pipe.recv()
        except EOFError:
            return
        try:
            job = store.get(database, job_id)
            if job.fence != fence:
                raise LeaseLostError(job_id, fence)
            do(
                Context(
                    settings=settings,
                    database=database,
                    artifacts=artifacts,
                    doorbell=doorbell,
                    job=job,
                    control=Undisturbed(),
                )
            )
        except (LeaseLostError, NotFoundError, StoreUnavailableError) as problem:
            log.warning("not_done", job=job_id, reason=str(problem))
        pipe.send(job_id)
