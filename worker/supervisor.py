"""Takes jobs from the database one after another, at most one at a time."""

import threading
from collections.abc import Collection

import structlog

from jobs import dependencies, leases, metrics, records
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import LeaseLostError, NotFoundError, StoreUnavailableError
from jobs.job import QUEUE_OF, Job, JobType
from jobs.queue import RESIDENT_QUEUE, Doorbell
from jobs.settings import Settings
from worker import forks, template
from worker.patience import until_answered
from worker.resident import Resident
from worker.standby import Standby
from worker.trainer import RUNNERS
from worker.watch import Parts, Watch

_AT_ONCE = 10
"""Finished jobs that are written to files before the next one is claimed."""

log = structlog.get_logger(__name__)


def modules_for(queues: Collection[str]) -> list[str]:
    """What the template loads, so that jobs of these queues find it there."""
    kinds = [kind for kind in JobType if QUEUE_OF[kind] in set(queues) - {RESIDENT_QUEUE}]
    return [template.__name__, *(RUNNERS[kind] for kind in kinds)]


class Supervisor:
    """One worker's hands: whoever rings, one job is done after the other."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        queue: str,
        worker_id: str,
        standby: Standby,
    ) -> None:
        self._queue = queue
        self._worker_id = worker_id
        self._busy = threading.Lock()
        self._devices = (len(settings.device_numbers) or 1) if queue == "train" else 1
        self._parts = Parts(
            settings=settings,
            database=database,
            artifacts=Artifacts.of(settings),
            doorbell=Doorbell(settings.redis_url),
            draining=threading.Event(),
            standby=standby,
        )
        self._resident = Resident(self._parts) if queue == RESIDENT_QUEUE else None

    def work(self) -> None:
        """Everything claimable has been done; a second caller waits and finds nothing left."""
        with self._busy:
            while not self._parts.draining.is_set() and self._can_start():
                job = self._claim()
                if job is None or not self._do(job):
                    break
                self._ring_for_what_waited(job)
                self._record_what_ended()
            if self._resident is not None:
                self._resident.close_if_idle()

    def drain(self) -> None:
        """No further job is claimed; the running one saves a checkpoint and goes back."""
        self._parts.draining.set()

    def close(self) -> None:
        """The running job has gone back and the doorbell is silent."""
        with self._busy:
            if self._resident is not None:
                self._resident.close()
            self._parts.doorbell.close()

    def _can_start(self) -> bool:
        """Whether a trainer stands by; a process that stays is started when asked."""
        if self._resident is not None:
            return True
        # a job claimed earlier would wait for the template's imports while its lease runs out
        try:
            self._parts.standby.wait()
        except forks.NO_PROCESS as problem:
            log.warning("template_lost", error=repr(problem))
            return False
        return True

    def _do(self, job: Job) -> bool:
        """Whether the job's attempt has begun and ended; else the job has gone back."""
        if self._resident is not None:
            self._resident.do(job)
            return True
        try:
            watch = Watch(self._parts, job)
        except forks.NO_PROCESS as problem:
            log.warning("template_lost", job=job.id, error=repr(problem))
            self._give_back(job, f"its trainer could not be started: {problem!r}")
            return False
        # forked while this job runs, so that the next one need not wait for it
        self._parts.standby.prepare()
        watch.until_the_end()
        return True

    def _give_back(self, job: Job, reason: str) -> None:
        max_lost = self._parts.settings.max_lost
        try:
            until_answered(
                lambda: leases.record_loss(
                    self._parts.database, job.id, job.fence, max_lost=max_lost, reason=reason
                )
            )
        except (LeaseLostError, NotFoundError) as problem:
            log.warning("fenced_off", reason=str(problem))

    def _ring_for_what_waited(self, job: Job) -> None:
        try:
            queues = dependencies.queues_behind(self._parts.database, job.id)
        except StoreUnavailableError as problem:
            log.warning("database_away", error=str(problem))
            return
        for queue in queues:
            self._parts.doorbell.ring(queue, job.id)

    def _record_what_ended(self) -> None:
        try:
            failed = records.write_due(self._parts.database, self._parts.artifacts, limit=_AT_ONCE)
        except StoreUnavailableError as problem:
            log.warning("database_away", error=str(problem))
            return
        for job_id, reason in failed.items():
            # the API's housekeeping tries again
            log.warning("record_not_written", job=job_id, error=str(reason))

    def _claim(self) -> Job | None:
        try:
            job = leases.claim_next(
                self._parts.database,
                self._queue,
                self._worker_id,
                lease_ms=int(self._parts.settings.lease_s * 1000),
                devices=self._devices,
            )
        except StoreUnavailableError as problem:
            log.warning("database_away", error=str(problem))
            return None
        if job is not None:
            metrics.CLAIMED_JOBS.labels(job.type.value).inc()
            log.info("job_claimed", job=job.id, type=job.type.value, attempt=job.attempt)
            self._parts.doorbell.happened(job.id)
        return job
