"""The worker process: Celery hears the doorbell, the supervisor does the work.

`python -m worker.app --queue train` serves one queue with one job at a time. A process that is
given several queues has a supervisor for each, which share what it has loaded.
"""

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down

from jobs import tracing
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.devices import nvidia_devices
from jobs.errors import NewerDatabaseError, StoreUnavailableError
from jobs.logs import configure_logging
from jobs.queue import LOOK_TASKS, make_celery
from jobs.settings import Settings, SettingsError, load_settings, traces_endpoint
from worker import forks
from worker.ending import Ending
from worker.metrics_server import show_metrics
from worker.standby import Standby
from worker.supervisor import modules_for
from worker.worker import Worker, device_name, process_name

_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
TRAINER_ENVIRONMENT = {
    # glibc gives every large activation back to the kernel and faults it in again; keeping
    # them saves some 200,000 page faults in each step of a training on the CPU
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    # what is kept lies in large pages: fewer to fault in, and to give back at the end of a job
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    # threads that wait for work should not burn the core that another process could use, but
    # stay awake for the moment between two operations (libgomp counts; some 0.1 ms)
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "2000",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    # trainers that share a job meet on this machine, and nobody else's business is it
    "GLOO_SOCKET_IFNAME": _LOOPBACK,
    "NCCL_SOCKET_IFNAME": _LOOPBACK,
}

log = structlog.get_logger(__name__)


def make_app(settings: Settings, looks: Mapping[str, Callable[[], None]]) -> Celery:
    """The Celery application with the one task of each queue, which looks for work."""
    app = make_celery(settings.redis_url)
    for queue, look in looks.items():
        _register(app, queue, look)
    return app


def _register(app: Celery, queue: str, look: Callable[[], None]) -> None:
    @app.task(name=LOOK_TASKS[queue])
    def rung(job_id: str) -> None:
        log.debug("rung", job=job_id)
        look()


def _app_of(workers: Sequence[Worker], settings: Settings) -> Celery:
    """The Celery application that hears for these workers.

    One that works alone hears nothing meanwhile, so that messages wait for others of its queue.
    One of several may not make them deaf, too: its own messages only wake it.
    """
    if len(workers) == 1:
        (worker,) = workers
        return make_app(settings, {worker.queue: worker.look})
    app = make_app(settings, {worker.queue: worker.wake for worker in workers})
    app.conf.update(worker_disable_prefetch=False, worker_prefetch_multiplier=0)
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
    if not settings.devices or not device_name(settings, queue).startswith("cuda"):
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
    """The workers serve their queues until SIGTERM, then give their jobs back and end."""
    parser = argparse.ArgumentParser(prog="tunesmith worker", description=__doc__)
    parser.add_argument("--queue", action="append", choices=sorted(LOOK_TASKS))
    parser.add_argument("--devices", help="as TUNESMITH_DEVICES")
    given = parser.parse_args()
    queues = list(dict.fromkeys(given.queue or ["train"]))
    settings = load_settings(**({"devices": given.devices} if given.devices else {}))
    for queue in queues:
        _refuse_absent(settings, queue)
    configure_logging(settings.log_format, settings.log_level)
    _try_traces()
    os.environ.update(TRAINER_ENVIRONMENT)  # noqa: TID251 - written for the trainers, never read
    _refuse_newer(settings)
    _refuse_store(settings)
    _serve(queues, settings)


def _serve(queues: Sequence[str], settings: Settings) -> None:
    forks.preload(preloaded(queues))
    # what is counted is the process's: it is shown once
    shown = {queues[0]: show_metrics(settings, queues[0])}
    # a template process imports everything once and runs nothing: trainers are its forks, and give
    # their memory back by their exit
    standby = Standby(multiprocessing.get_context("forkserver"))
    workers = [
        Worker(settings, queue, standby=standby, metrics=shown.get(queue)) for queue in queues
    ]
    app = _app_of(workers, settings)
    setup_logging.connect(_leave_logging_alone)
    ending = Ending(workers)
    worker_ready.connect(lambda **_: _start(workers), weak=False)
    worker_shutting_down.connect(lambda **_: ending.begin(), weak=False)
    try:
        app.worker_main(_celery_arguments(queues, settings))
    finally:
        ending.after_celery()
        standby.close()


def preloaded(queues: Sequence[str]) -> list[str]:
    """What the template of a process for these queues loads."""
    # every child runs this module once more, under another name: 40 ms if its imports were new
    return [*modules_for(queues), "worker.app"]


def _start(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.start()


def _try_traces() -> None:
    """The process ends with a message where trainers are to send traces and cannot."""
    try:
        tracing.begin("tunesmith-worker", traces_endpoint())
    except tracing.TracesUnavailableError as problem:
        sys.exit(f"cannot start: {problem}")


def _celery_arguments(queues: Sequence[str], settings: Settings) -> list[str]:
    return [
        "worker",
        "--pool=threads",
        "--concurrency=1",
        f"--queues={','.join(queues)}",
        f"--hostname={process_name('-'.join(queues))}",
        "--without-gossip",
        "--without-mingle",
        f"--loglevel={settings.log_level}",
    ]


def _leave_logging_alone(**_: object) -> None:
    """Celery configures no logging when this signal has a receiver."""


if __name__ == "__main__":
    main()
