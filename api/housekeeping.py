"""Sweeps in the background: takes jobs back from silent workers, rings where work waits."""

import threading

import redis
import structlog

from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.queue import Doorbell, redis_client, waiting_messages
from jobs.settings import Settings
from jobs.sweeper import Sweeper, claimable_queues

log = structlog.get_logger(__name__)


class Housekeeping:
    """One thread that sweeps every ``settings.sweep_s`` until it is stopped."""

    def __init__(self, database: Database, doorbell: Doorbell, settings: Settings) -> None:
        self._database = database
        self._doorbell = doorbell
        self._interval_s = settings.sweep_s
        self._sweeper = Sweeper(
            database,
            interval_s=settings.sweep_s,
            lease_s=settings.lease_s,
            max_lost=settings.max_lost,
        )
        self._redis = redis_client(settings.redis_url)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """The thread runs; its first sweep comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """The thread has ended."""
        self._stopping.set()
        self._thread.join()
        self._redis.close()

    def sweep(self) -> None:
        """Due leases are taken back, and queues with work that nobody was told of are rung."""
        for job_id in self._sweeper.sweep():
            log.warning("job_taken_back", job_id=job_id)
            self._doorbell.happened(job_id)
        for queue in claimable_queues(self._database):
            if self._is_silent(queue):
                self._doorbell.ring(queue, "sweep")

    def _is_silent(self, queue: str) -> bool:
        """Whether no message lies on the queue; False when Redis cannot tell, nor could ring."""
        try:
            return waiting_messages(self._redis, queue) == 0
        except redis.RedisError:
            return False

    def _run(self) -> None:
        while not self._stopping.wait(self._interval_s):
            try:
                self.sweep()
            except StoreUnavailableError as problem:
                log.warning("sweep_failed", error=str(problem))
