"""A worker that froze for longer than its lease: another one finishes, it changes nothing."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from jobs import store
from tests.faults.conftest import Start, artifacts_of
from tests.faults.given import (
    Patient,
    dataset,
    ended,
    fine_tune,
    fine_tune_body,
    job_when,
    trains,
)
from tests.faults.installation import Frozen, Installation, Roster, running, wait_until
from tests.faults.laws import assert_ended, assert_equal_runs, assert_one_model, history_of

WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("begun", flush=True)
sys.stdin.read()
connection.execute("COMMIT")
"""

pytestmark = pytest.mark.e2e


def _with_its_trainer(installation: Installation, name: str) -> Frozen:
    return installation.frozen(name)


def _alone(installation: Installation, name: str) -> Frozen:
    return installation.frozen(name, with_descendants=False)


@pytest.mark.parametrize(
    "freeze", [_with_its_trainer, pytest.param(_alone, marks=pytest.mark.faults)]
)
def test_another_worker_finishes_what_a_frozen_one_held_and_there_is_one_result(
    start: Start, freeze: Callable[[Installation, str], Frozen]
) -> None:
    installation = start(Roster(trains=2))
    database = installation.database()
    dataset_id = dataset(installation)
    undisturbed = fine_tune(installation, dataset_id, epochs=30)
    ended(database, undisturbed)

    disturbed = fine_tune(installation, dataset_id, epochs=30)
    held = job_when(database, disturbed, lambda job: trains(job, steps=2), "trains")
    name = str(installation.name_of_worker(held.worker_id))
    old = [each for each in installation.trainers() if each.fence == held.fence]
    with freeze(installation, name):
        ended(database, disturbed)
        last = history_of(database, disturbed)[-1].seq
        result = store.get(database, disturbed)
    wait_until(lambda: not {each.pid for each in old} & running(), "the old trainer has ended")

    # the frozen worker works again, on other jobs
    others = [fine_tune(installation, dataset_id) for _ in range(3)]
    ended(database, *others)
    job = assert_ended(database, disturbed)
    assert job.attempt >= 2
    assert (job.fence, job.event_seq, job.result) == (result.fence, last, result.result)
    assert_one_model(database, disturbed)
    assert_equal_runs(database, artifacts_of(installation), undisturbed, disturbed)
    for other in others:
        assert_ended(database, other)
    database.close()


@pytest.mark.faults
def test_a_trainer_that_wakes_up_behind_its_lease_writes_nothing(start: Start) -> None:
    installation = start(Roster(trains=2))
    database = installation.database()
    job_id = fine_tune(installation, dataset(installation), epochs=30)
    held = job_when(database, job_id, lambda job: trains(job, steps=2), "trains")
    (trainer,) = (each for each in installation.trainers() if each.fence == held.fence)
    name = str(installation.name_of_worker(held.worker_id))

    with installation.frozen(name):
        job_when(database, job_id, lambda job: job.fence > held.fence, "is claimed by another")
    wait_until(lambda: trainer.pid not in running(), "the trainer has ended")
    ended(database, job_id)

    assert_ended(database, job_id)
    log = artifacts_of(installation).log_file(job_id, held.fence).read_text()
    # either its clock or the database has told it
    assert "job_ended" not in log
    database.close()


@pytest.mark.faults
def test_who_freezes_in_the_middle_of_a_write_makes_others_wait_and_loses_nothing(
    start: Start,
) -> None:
    installation = start(lease_s=60.0)
    database = installation.database()
    dataset_id = dataset(installation)
    before = fine_tune(installation, dataset_id, epochs=40)
    job_when(database, before, trains, "trains")

    with _frozen_writer(installation.folder / "tunesmith.db"):
        body, headers = fine_tune_body(dataset_id), {"Idempotency-Key": "the same"}
        refused = httpx.post(
            f"{installation.url}/v1/fine-tunes", json=body, headers=headers, timeout=60
        )
        # readers are not kept out
        seen = httpx.get(f"{installation.url}/v1/jobs/{before}", timeout=60)
    with Patient(installation) as client:
        after = client.post("/v1/fine-tunes", body, key="the same")["id"]
    ended(database, before, after)

    assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE
    assert refused.json()["code"] == "unavailable"
    assert int(refused.headers["Retry-After"]) > 0
    assert seen.status_code == httpx.codes.OK
    for job_id in (before, after):
        assert assert_ended(database, job_id).attempt == 1
    database.close()


@contextmanager
def _frozen_writer(file: Path) -> Iterator[None]:
    """A process that was stopped inside a transaction; it goes on, and commits, after the block."""
    command = [sys.executable, "-c", WRITER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"begun\n"
        with Frozen([writer.pid]):
            yield
    assert writer.returncode == 0
