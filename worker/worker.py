"""One queue's worker: its supervisor, and the threads that work without being rung."""

import os
import socket
import threading
import time

import structlog

from jobs import presence, retention, sweeper
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.devices import nvidia_devices
from jobs.errors import StoreUnavailableError
from jobs.queue import RESIDENT_QUEUE
from jobs.settings import Settings
from worker.standby import Standby
from worker.supervisor import Supervisor

_DEAF_S = 2.0
"""Seconds for which Celery may not hear its queue after a task: its loop waits for a timer."""

_LOOK_WHILE_DEAF_S = 0.05
_TIDY_EVERY_S = 3600.0

log = structlog.get_logger(__name__)


class Worker:
    """One queue's worker: its supervisor, and the thread that looks without being rung."""

    def __init__(
        self, settings: Settings, queue: str, *, standby: Standby, metrics: str | None = None
    ) -> None:
        """``metrics`` is where it shows what it counts, ``host:port``."""
        self.queue = queue
        self._metrics = metrics
        self.id = process_name(queue)
        self._settings = settings
        self._device = device_name(settings, queue)
        self._database = Database(settings.database_url)
        self._supervisor = Supervisor(
            settings, self._database, queue=queue, worker_id=self.id, standby=standby
        )
        self._standby = standby
        self._ended = threading.Event()
        self._woken = threading.Event()
        self._looking = threading.Thread(target=self._look_again_and_again, daemon=True)
        self._keeping = threading.Thread(target=self._keep_house, daemon=True)
        # a look at many files must not keep a sweep waiting
        self._tidying = threading.Thread(target=self._tidy_again_and_again, daemon=True)

    def start(self) -> None:
        """The worker is on the list and looks for work, rung or not."""
        if self.queue != RESIDENT_QUEUE:
            self._standby.prepare()
        self._looking.start()
        self._keeping.start()
        self._tidying.start()

    def look(self) -> None:
        """Everything claimable on this queue has been done."""
        self._supervisor.work()
        self._woken.set()

    def wake(self) -> None:
        """The worker looks now, or as soon as it has done what is in hand."""
        self._woken.set()

    def drain(self) -> None:
        """The running job goes back to the queue, and no other is claimed."""
        self._supervisor.drain()
        self._ended.set()
        self._woken.set()

    def close(self) -> None:
        """All threads have ended; the worker is off the list."""
        self._supervisor.close()
        for thread in (self._looking, self._keeping, self._tidying):
            # never started when Celery could not, whose own error must be the one that is seen
            if thread.ident is not None:
                thread.join()
        try:
            presence.withdraw(self._database, self.id)
        except StoreUnavailableError as problem:
            log.warning("database_away", error=str(problem))
        self._database.close()

    def _look_again_and_again(self) -> None:
        eager_until_s = 0.0
        while not self._ended.is_set():
            self._supervisor.work()
            is_eager = time.monotonic() < eager_until_s
            if self._woken.wait(_LOOK_WHILE_DEAF_S if is_eager else self._settings.look_s):
                self._woken.clear()
                # a job posted just after another's end does not wait until Celery listens again
                eager_until_s = time.monotonic() + _DEAF_S

    def _keep_house(self) -> None:
        house = sweeper.Sweeper(
            self._database,
            interval_s=self._settings.sweep_s,
            lease_s=self._settings.lease_s,
            max_lost=self._settings.max_lost,
        )
        while not self._ended.is_set():
            try:
                self._announce()
                for job_id in house.sweep():
                    log.warning("lease_ran_out", job=job_id)
            except StoreUnavailableError as problem:
                log.warning("database_away", error=str(problem))
            self._ended.wait(self._settings.sweep_s)

    def _tidy_again_and_again(self) -> None:
        artifacts = Artifacts.of(self._settings)
        store = retention.Store(self._database, artifacts, self._settings)
        # what is in a folder of all machines the API tidies; the rest nobody but us can
        collect = retention.collect_here if artifacts.store.is_apart else retention.collect_pixels
        while not self._ended.wait(_TIDY_EVERY_S):
            try:
                for removed in collect(store):
                    log.info("removed", kind=removed.kind.value, name=removed.name, why=removed.why)
            except (StoreUnavailableError, OSError) as problem:
                log.warning("not_tidied", error=str(problem))

    def _announce(self) -> None:
        presence.announce(
            self._database,
            worker_id=self.id,
            queue=self.queue,
            device=self._device,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            metrics=self._metrics,
        )


def process_name(queues: str) -> str:
    """What this process is called among those that serve queues."""
    return f"{queues}@{socket.gethostname()}:{os.getpid()}"


def device_name(settings: Settings, queue: str) -> str:
    """What people are told; the trainer picks the device itself, by the same rule."""
    if queue != "train":
        return "cpu"
    kind = settings.device
    if kind == "auto":
        kind = "cuda" if nvidia_devices() else "cpu"
    return f"{kind}:{settings.devices}" if settings.devices else kind
