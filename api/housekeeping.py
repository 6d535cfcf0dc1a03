"""Sweeps in the background: jobs of silent workers, work that nobody heard of, what may go."""

import threading
from collections.abc import Callable

import redis
import structlog

from jobs import records, retention
from jobs.artifacts import Artifacts
from jobs.claims import claimable_queues
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.queue import Doorbell, redis_client, waiting_messages
from jobs.settings import Settings
from jobs.sweeper import Sweeper

TIDY_EVERY_S = 3600.0

log = structlog.get_logger(__name__)


class Housekeeping:
    """A thread that sweeps every ``settings.sweep_s`` and one that tidies every hour."""

    def __init__(self, database: Database, doorbell: Doorbell, settings: Settings) -> None:
        self._database = database
        self._doorbell = doorbell
        self._artifacts = Artifacts.of(settings)
        self._store = retention.Store(database, self._artifacts, settings)
        self._sweeper = Sweeper(
            database,
            interval_s=settings.sweep_s,
            lease_s=settings.lease_s,
            max_lost=settings.max_lost,
        )
        self._redis = redis_client(settings.redis_url)
        self._stopping = threading.Event()
        # a look at many files must not keep a sweep waiting
        self._threads = [
            threading.Thread(target=self._repeat, args=work, name=work[0].__name__, daemon=True)
            for work in (
                (self.sweep, settings.sweep_s),
                (self.record, settings.sweep_s),
                (self.tidy, TIDY_EVERY_S),
            )
        ]

    def start(self) -> None:
        """The threads run; the first sweep comes after one interval, as does the first tidying."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """The threads have ended."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._redis.close()

    def sweep(self) -> None:
        """Due leases are taken back, and queues with work that nobody was told of are rung."""
        for job_id in self._sweeper.sweep():
            log.warning("job_taken_back", job_id=job_id)
            self._doorbell.happened(job_id)
        for queue in claimable_queues(self._database):
            if self._is_silent(queue):
                self._doorbell.ring(queue, "sweep")

    def record(self) -> None:
        """Finished jobs have their files; those that cannot be written are tried again."""
        failed = records.write_due(self._database, self._artifacts)
        if failed:
            job_id, problem = next(iter(failed.items()))
            log.warning("records_not_written", jobs=len(failed), job_id=job_id, error=str(problem))

    def tidy(self) -> None:
        """What the settings let go is gone: orphaned files, old progress, pixels over the limit."""
        for removed in retention.collect(self._store):
            log.info("removed", kind=removed.kind.value, name=removed.name, why=removed.why)

    def _is_silent(self, queue: str) -> bool:
        """Whether no message lies on the queue; False when Redis cannot tell, nor could ring."""
        try:
            return waiting_messages(self._redis, queue) == 0
        except redis.RedisError:
            return False

    def _repeat(self, work: Callable[[], None], interval_s: float) -> None:
        while not self._stopping.wait(interval_s):
            try:
                work()
            except (StoreUnavailableError, OSError) as problem:
                log.warning("housekeeping_failed", work=work.__name__, error=str(problem))
