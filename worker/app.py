"""The worker process: Celery hears the doorbell, the supervisor does the work.

`python -m worker.app --queue train` serves one queue with one job at a time.
"""

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import forkserver

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down

from jobs import presence, retention, sweeper, tracing
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.devices import nvidia_devices
from jobs.errors import NewerDatabaseError, StoreUnavailableError
from jobs.logs import configure_logging
from jobs.queue import LOOK_TASKS, RESIDENT_QUEUE, make_celery
from jobs.settings import Settings, SettingsError, load_settings, traces_endpoint
from worker.metrics_server import show_metrics
from worker.supervisor import Supervisor

_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
_TRAINER_ENVIRONMENT = {
    # glibc gives every large activation back to the kernel and faults it in again; keeping
    # them saves some 200,000 page faults in each step of a training on the CPU
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    # threads that wait for work should not burn the core that another process could use, but
    # stay awake for the moment between two operations (libgomp counts; some 0.1 ms)
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "2000",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # trainers that share a job meet on this machine, and nobody else's business is it
    "GLOO_SOCKET_IFNAME": _LOOPBACK,
    "NCCL_SOCKET_IFNAME": _LOOPBACK,
}

_DEAF_S = 2.0
"""Seconds for which Celery may not hear its queue after a task: its loop waits for a timer."""

_LOOK_WHILE_DEAF_S = 0.05
_TIDY_EVERY_S = 3600.0

log = structlog.get_logger(__name__)


class Worker:
    """One queue's worker: its supervisor, and the thread that looks without being rung."""

    def __init__(self, settings: Settings, queue: str, *, metrics: str | None = None) -> None:
        """``metrics`` is where it shows what it counts, ``host:port``."""
        self.queue = queue
        self._metrics = metrics
        self.id = f"{queue}@{socket.gethostname()}:{os.getpid()}"
        self._settings = settings
        self._device = _device_name(settings, queue)
        self._database = Database(settings.database_url)
        self._supervisor = Supervisor(settings, self._database, queue=queue, worker_id=self.id)
        self._ended = threading.Event()
        self._deaf = threading.Event()
        self._looking = threading.Thread(target=self._look_again_and_again, daemon=True)
        self._keeping = threading.Thread(target=self._keep_house, daemon=True)
        # a look at many files must not keep a sweep waiting
        self._tidying = threading.Thread(target=self._tidy_again_and_again, daemon=True)

    def start(self) -> None:
        """The worker is on the list and looks for work, rung or not."""
        if self.queue != RESIDENT_QUEUE:
            forkserver.ensure_running()
        self._looking.start()
        self._keeping.start()
        self._tidying.start()

    def look(self) -> None:
        """Everything claimable on this queue has been done."""
        self._supervisor.work()
        self._deaf.set()

    def drain(self) -> None:
        """The running job goes back to the queue, and no other is claimed."""
        self._supervisor.drain()
        self._ended.set()
        self._deaf.set()

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
        while not self._ended.is_set():
            self._supervisor.work()
            if self._deaf.wait(self._settings.look_s):
                self._deaf.clear()
                self._look_in_place_of_celery()

    def _look_in_place_of_celery(self) -> None:
        """A job posted just after another's end does not wait until Celery listens again."""
        until_s = time.monotonic() + _DEAF_S
        while time.monotonic() < until_s and not self._ended.wait(_LOOK_WHILE_DEAF_S):
            self._supervisor.work()

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


def _device_name(settings: Settings, queue: str) -> str:
    """What people are told; the trainer picks the device itself, by the same rule."""
    if queue != "train":
        return "cpu"
    kind = settings.device
    if kind == "auto":
        kind = "cuda" if nvidia_devices() else "cpu"
    return f"{kind}:{settings.devices}" if settings.devices else kind


def make_app(settings: Settings, queue: str, look: Callable[[], None]) -> Celery:
    """The Celery application with the one task of the queue, which looks for work."""
    app = make_celery(settings.redis_url)

    @app.task(name=LOOK_TASKS[queue])
    def rung(job_id: str) -> None:
        log.debug("rung", job=job_id)
        look()

    return app


def _refuse_store(settings: Settings) -> None:
    """The process ends with a message on an object store that it can never use."""
    try:
        Artifacts.of(settings).store.check()
    except SettingsError as wrong:
        sys.exit(f"cannot start: {wrong}")
    except OSError as problem:
        log.warning("artifact_store_away", error=str(problem))


def _refuse_absent(settings: Settings, queue: str) -> None:
    """The process ends with a message where it is to own GPUs that the driver does not list."""
    if not settings.devices or not _device_name(settings, queue).startswith("cuda"):
        return
    there = nvidia_devices()
    absent = [number for number in settings.device_numbers if number >= there]
    if absent:
        sys.exit(
            f"cannot start: TUNESMITH_DEVICES is {settings.devices}, and the driver lists "
            f"{there} GPUs, from 0 on; there is none with the number {absent[0]}"
        )


def _refuse_newer(settings: Settings) -> None:
    """The process ends with a message on a database of a newer version.

    One that does not answer may do so later.
    """
    database = Database(settings.database_url)
    try:
        database.refuse_newer()
    except NewerDatabaseError as problem:
        sys.exit(f"cannot start: {problem}")
    except StoreUnavailableError as problem:
        log.warning("database_away", error=str(problem))
    finally:
        database.close()


def main() -> None:
    """The worker serves its queue until SIGTERM, then gives its job back and ends."""
    parser = argparse.ArgumentParser(prog="tunesmith worker", description=__doc__)
    parser.add_argument("--queue", choices=sorted(LOOK_TASKS), default="train")
    parser.add_argument("--devices", help="as TUNESMITH_DEVICES")
    given = parser.parse_args()
    queue = given.queue
    settings = load_settings(**({"devices": given.devices} if given.devices else {}))
    _refuse_absent(settings, queue)
    configure_logging(settings.log_format, settings.log_level)
    _try_traces()
    os.environ.update(_TRAINER_ENVIRONMENT)  # noqa: TID251 - written for the trainers, never read
    _refuse_newer(settings)
    _refuse_store(settings)
    worker = Worker(settings, queue, metrics=show_metrics(settings, queue))
    app = make_app(settings, queue, worker.look)
    setup_logging.connect(_leave_logging_alone)
    worker_ready.connect(lambda **_: worker.start(), weak=False)
    worker_shutting_down.connect(lambda **_: worker.drain(), weak=False)
    try:
        app.worker_main(_celery_arguments(worker, settings))
    finally:
        worker.close()


def _try_traces() -> None:
    """The process ends with a message where trainers are to send traces and cannot."""
    try:
        tracing.begin("tunesmith-worker", traces_endpoint())
    except tracing.TracesUnavailableError as problem:
        sys.exit(f"cannot start: {problem}")


def _celery_arguments(worker: Worker, settings: Settings) -> list[str]:
    return [
        "worker",
        "--pool=threads",
        "--concurrency=1",
        f"--queues={worker.queue}",
        f"--hostname={worker.id}",
        "--without-gossip",
        "--without-mingle",
        f"--loglevel={settings.log_level}",
    ]


def _leave_logging_alone(**_: object) -> None:
    """Celery configures no logging when this signal has a receiver."""


if __name__ == "__main__":
    main()
