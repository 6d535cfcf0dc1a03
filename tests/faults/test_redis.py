"""Redis wiped or frozen: it holds no truth, so nothing is lost and nobody waits for it."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.faults.conftest import Scale, Start
from tests.faults.given import Patient, dataset, ended, fine_tune, fine_tune_body, job_when, trains
from tests.faults.installation import Installation, Roster
from tests.faults.laws import assert_ended

pytestmark = pytest.mark.e2e

LEASE_S = 60.0
"""Nobody loses a job here, however slow the machine is."""
ANSWER_S = 0.1
"""What a request takes that waits for nobody."""


def test_after_redis_was_wiped_each_queued_job_and_the_running_one_end_once(
    start: Start, scale: Scale
) -> None:
    installation = start(lease_s=LEASE_S)
    database = installation.database()
    dataset_id = dataset(installation)
    running = fine_tune(installation, dataset_id, epochs=20)
    queued = [fine_tune(installation, dataset_id) for _ in range(scale.of(6, 50))]
    job_when(database, running, trains, "trains")

    installation.flush()
    ended(database, running, *queued)

    for job_id in (running, *queued):
        assert assert_ended(database, job_id).attempt == 1
    database.close()


@pytest.mark.faults
def test_a_bell_that_was_wiped_rings_again(start: Start) -> None:
    # workers that look by themselves would hide a bell that is deaf for ever
    installation = start(lease_s=LEASE_S, look_s=600.0)
    database = installation.database()
    dataset_id = dataset(installation)

    installation.flush()
    flushed = fine_tune(installation, dataset_id)
    ended(database, flushed)
    installation.kill("redis")
    killed = fine_tune(installation, dataset_id)
    ended(database, killed)

    for job_id in (flushed, killed):
        assert assert_ended(database, job_id).attempt == 1
    database.close()


@pytest.mark.faults
def test_jobs_are_taken_and_done_while_redis_answers_nobody(start: Start) -> None:
    installation = start(lease_s=LEASE_S)
    database = installation.database()
    dataset_id = dataset(installation)

    with installation.frozen("redis"):
        began_s = time.monotonic()
        jobs = [fine_tune(installation, dataset_id) for _ in range(3)]
        print(f"3 jobs accepted in {time.monotonic() - began_s:.3f} s")  # noqa: T201 - for people
        ended(database, *jobs)

    for job_id in jobs:
        assert assert_ended(database, job_id).attempt == 1
    database.close()


@contextmanager
def _dead(installation: Installation) -> Iterator[None]:
    installation.away("redis")
    yield
    installation.members["redis"].is_wanted = True


@contextmanager
def _frozen(installation: Installation) -> Iterator[None]:
    with installation.frozen("redis"):
        yield


@contextmanager
def _wiped(installation: Installation) -> Iterator[None]:
    installation.flush()
    yield


@pytest.mark.parametrize("harmed", [_dead, _frozen, _wiped])
def test_no_request_waits_for_a_redis_that_is_dead_frozen_or_wiped(
    start: Start, harmed: Callable[[Installation], AbstractContextManager[None]]
) -> None:
    installation = start(Roster(trains=0, prepares=1), lease_s=LEASE_S)
    dataset_id = dataset(installation)
    body = fine_tune_body(dataset_id)

    with harmed(installation), Patient(installation) as client:
        jobs = [client.post("/v1/fine-tunes", body)["id"] for _ in range(20)]

    # whoever waits for Redis does so every time; a busy machine delays some of them
    assert min(client.seconds) < ANSWER_S
    assert len(set(jobs)) == len(jobs)
