"""A worker of this process: real forked trainers, a real database, nobody rings."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing import forkserver
from pathlib import Path

import pytest

from jobs import datasets, events, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.job import Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import FineTuneSpec, JobSpec
from tests.ledger_laws import check_every_ledger
from tests.worker import graphing_device, small_device
from tests.worker.photos import write_photos
from tests.worker.snapshots import Snapshot, hurried, snapshot
from worker.standby import Standby
from worker.supervisor import Supervisor
from worker.trainer import RUNNERS

TINY = {
    "architecture": "squeezenet1_1",
    "weights": "none",
    "size": 64,
    "presize": 64,
    "batch_size": 4,
    "precision": "fp32",
}

_PRELOADED = [*sorted(RUNNERS.values()), small_device.__name__, graphing_device.__name__]


@pytest.fixture(scope="session")
def object_store_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that tells trainers where their object store is; a test may write it."""
    return tmp_path_factory.mktemp("object-store") / "config"


@pytest.fixture(scope="session", autouse=True)
def template(object_store_config: Path) -> None:
    """The process that trainers are forked from has loaded what trainings need, once for all."""
    # it keeps the environment that it begins with
    os.environ["AWS_CONFIG_FILE"] = str(object_store_config)  # noqa: TID251 - another program's
    forkserver.set_forkserver_preload(_PRELOADED)
    forkserver.ensure_running()
    with closing(a_standby()) as first:
        first.wait()


def a_standby() -> Standby:
    """Trainers of the template's."""
    return Standby(multiprocessing.get_context("forkserver"))


@pytest.fixture
def standby() -> Iterator[Standby]:
    """Where workers of the test find their trainers."""
    with closing(a_standby()) as standby:
        yield standby


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings with short leases, one thread and no periodic checkpoints."""
    return hurried(settings)


@pytest.fixture
def work(quick: Settings, database: Database) -> Iterator[Callable[[str], Supervisor]]:
    """Starts a supervisor's work on a queue in a thread; it has ended after the test."""
    with working(quick, database) as start:
        yield start


@contextmanager
def working(settings: Settings, database: Database) -> Iterator[Callable[[str], Supervisor]]:
    """What starts a supervisor's work on a queue in a thread; it has ended after the block."""
    running: list[tuple[Supervisor, threading.Thread]] = []
    standby = a_standby()

    def start(queue: str) -> Supervisor:
        supervisor = Supervisor(
            settings, database, queue=queue, worker_id=f"{queue}-test", standby=standby
        )
        # it has said what its own template loads; should a test kill ours, the next is like it
        forkserver.set_forkserver_preload(_PRELOADED)
        thread = threading.Thread(target=supervisor.work)
        thread.start()
        running.append((supervisor, thread))
        return supervisor

    try:
        yield start
    finally:
        for supervisor, thread in running:
            supervisor.drain()
            thread.join()
            supervisor.close()
        standby.close()


@pytest.fixture(autouse=True)
def lawful_ledgers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test is about, the ledgers that its jobs have made add up."""
    if "database" not in request.fixturenames:
        yield
        return
    database: Database = request.getfixturevalue("database")
    settings: Settings = request.getfixturevalue("settings")
    yield
    check_every_ledger(database, Artifacts(settings.artifacts))


@pytest.fixture(scope="session")
def imported(
    template: None, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Snapshot:
    """24 tiny photos in two classes, imported once by a real worker."""
    return snapshot(migrated_sqlite, tmp_path_factory.mktemp("imported"), _import_tiny)


@pytest.fixture(scope="session")
def trained_once(
    template: None, migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory
) -> Snapshot:
    """The same with a fine-tune of one epoch."""
    return snapshot(migrated_sqlite, tmp_path_factory.mktemp("trained"), _train_tiny)


@pytest.fixture
def dataset_id(quick: Settings, database: Database, imported: Snapshot) -> str:
    """A ready dataset of 24 tiny photos in two classes."""
    return imported.laid_out(database, quick)


@pytest.fixture
def trained(quick: Settings, database: Database, trained_once: Snapshot) -> Job:
    """A fine-tune of one epoch with its ledger and its model."""
    return store.get(database, trained_once.laid_out(database, quick))


def _import_tiny(database: Database, settings: Settings) -> str:
    folder = settings.dataset_roots[0] / "tiny"
    write_photos(folder)
    with working(settings, database) as work:
        return import_folder(database, work, folder).id


def _train_tiny(database: Database, settings: Settings) -> str:
    dataset_id = _import_tiny(database, settings)
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, epochs=1), dataset_id)
    with working(settings, database) as work:
        work("train")
        ended = wait_for(database, job.id, lambda job: job.is_terminal)
    assert ended.state == JobState.SUCCEEDED, ended.error
    return ended.id


def import_folder(
    database: Database,
    work: Callable[[str], Supervisor],
    folder: Path,
    **changes: object,
) -> datasets.Dataset:
    """The dataset after its import has ended, well or not."""
    body = {
        "name": "tiny",
        "source": {"type": "path", "path": str(folder)},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
        "split": {"rule": "random", "valid_fraction": 0.25, "seed": 1},
        **changes,
    }
    with database.write() as connection:
        dataset = datasets.register(connection, DatasetSpec.model_validate(body))
    work("prepare")
    wait_for(database, dataset.job_id, lambda job: job.is_terminal)
    return datasets.get(database, dataset.id)


def submit(database: Database, kind: JobType, spec: JobSpec, dataset_id: str) -> Job:
    """The queued job."""
    with database.write() as connection:
        return store.submit(connection, kind, spec, dataset_id=dataset_id)


def fine_tune_spec(dataset_id: str, **changes: object) -> FineTuneSpec:
    """A fine-tune of a few steps."""
    body = {"dataset": dataset_id, "epochs": 2, "freeze_epochs": 1, **TINY, **changes}
    return FineTuneSpec.model_validate(body)


def wait_for(
    database: Database, job_id: str, is_so: Callable[[Job], bool], *, within_s: float = 60
) -> Job:
    """The job as soon as the condition holds."""
    ended = threading.Event()
    for _ in range(int(within_s / 0.05)):
        job = store.get(database, job_id)
        if is_so(job):
            return job
        ended.wait(0.05)
    raise AssertionError(f"after {within_s} s the job is still {job}")


def event_types(database: Database, job_id: str) -> list[str]:
    """The types of the job's events, whose numbers have no gap."""
    history = events.read_after(database, job_id, 0, limit=10_000)
    assert [event.seq for event in history] == list(range(1, len(history) + 1))
    return [event.type for event in history]
