import os
import time
from collections.abc import Iterator

import pytest

from api.housekeeping import Housekeeping
from jobs import store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.ids import new_job_id
from jobs.job import JobState, JobType
from jobs.queue import Doorbell, redis_client, waiting_messages
from jobs.settings import Settings
from tests.api.given import queued, ready_dataset, started
from tests.jobs.given import set_columns


@pytest.fixture
def doorbell(redis_url: str) -> Iterator[Doorbell]:
    """A doorbell that works, with nothing on the queues."""
    client = redis_client(redis_url)
    client.flushall()
    client.close()
    doorbell = Doorbell(redis_url)
    yield doorbell
    doorbell.close()


@pytest.fixture
def housekeeping(
    database: Database, doorbell: Doorbell, settings: Settings, redis_url: str
) -> Housekeeping:
    """Housekeeping that sweeps when it is told to."""
    return Housekeeping(database, doorbell, settings.model_copy(update={"redis_url": redis_url}))


def test_a_job_whose_worker_went_silent_is_queued_again(
    database: Database, housekeeping: Housekeeping
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    housekeeping.sweep()
    set_columns(database, job.id, lease_until_ms=1)

    housekeeping.sweep()

    assert store.get(database, job.id).state == JobState.QUEUED


def test_waiting_work_that_nobody_was_told_of_is_rung_once(
    database: Database, housekeeping: Housekeeping, doorbell: Doorbell, redis_url: str
) -> None:
    queued(database, JobType.FINE_TUNE, ready_dataset(database))
    client = redis_client(redis_url)

    housekeeping.sweep()
    doorbell.close()
    housekeeping.sweep()

    assert waiting_messages(client, "train") == 1
    assert waiting_messages(client, "prepare") == 0
    client.close()


def test_without_redis_nothing_is_rung_and_nothing_fails(
    database: Database, settings: Settings
) -> None:
    queued(database, JobType.FINE_TUNE, ready_dataset(database))
    doorbell = Doorbell(settings.redis_url)
    housekeeping = Housekeeping(database, doorbell, settings)

    housekeeping.sweep()

    doorbell.close()


def test_what_a_deletion_could_not_finish_is_removed_once_it_is_old(
    database: Database, artifacts: Artifacts, settings: Settings
) -> None:
    ready_dataset(database)
    old, young = (artifacts.job_folder(new_job_id()) for _ in range(2))
    for folder, seconds_ago in ((old, 100_000), (young, 1000)):
        folder.mkdir(parents=True)
        os.utime(folder, (time.time() - seconds_ago,) * 2)
    doorbell = Doorbell(settings.redis_url)

    Housekeeping(database, doorbell, settings).tidy()

    doorbell.close()
    assert not old.exists()
    assert young.exists()


def test_housekeeping_starts_and_ends(database: Database, settings: Settings) -> None:
    doorbell = Doorbell(settings.redis_url)
    housekeeping = Housekeeping(database, doorbell, settings.model_copy(update={"sweep_s": 0.05}))

    housekeeping.start()
    housekeeping.stop()

    doorbell.close()
