"""Jobs that ruin their trainers, between jobs that do not."""

import pytest

from jobs import verbs
from jobs.job import JobState
from tests.faults.conftest import Start
from tests.faults.given import dataset, ended, fine_tune, job_when
from tests.faults.installation import Installation, Roster, running, wait_until
from tests.faults.laws import assert_ended
from tests.faults.poison import EXIT_CODE, LAST_WORDS

pytestmark = pytest.mark.e2e

TOLD = {
    "segfault": "was killed by SIGSEGV",
    "exit": f"ended with exit code {EXIT_CODE}",
    "loop": "did not go on for 3 s",
    "deaf loop": "did not go on for 3 s",
}


@pytest.fixture
def installation(start: Start) -> Installation:
    """Workers that can be poisoned; nobody is taken for stuck while torch is loaded."""
    roster = Roster(worker="tests.faults.poisoned_worker")
    return start(roster, lease_s=10.0, stall_s=3.0)


def test_poison_fails_after_its_attempts_and_the_jobs_around_it_succeed(
    installation: Installation,
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    good = [fine_tune(installation, dataset_id)]
    poisoned: dict[str, str] = {}
    for name in TOLD:
        poisoned[name] = fine_tune(installation, dataset_id, name=name)
        good.append(fine_tune(installation, dataset_id))
    ended(database, *good, *poisoned.values())

    for job_id in good:
        assert assert_ended(database, job_id).attempt == 1
    for name, job_id in poisoned.items():
        job = assert_ended(database, job_id, state=JobState.FAILED)
        assert job.attempt == 2
        assert job.error is not None
        assert job.error["code"] == "worker_lost"
        assert TOLD[name] in job.error["message"]
        assert job.error["message"].endswith(LAST_WORDS)
    database.close()


@pytest.mark.faults
def test_a_trainer_that_listens_to_nobody_ends_with_its_worker(
    installation: Installation,
) -> None:
    database = installation.database()
    job_id = fine_tune(installation, dataset(installation), name="deaf loop")
    trainer = wait_until(installation.trainers, "there is a trainer")[0]

    installation.away("train-0")
    wait_until(lambda: trainer.pid not in running(), "the trainer has ended", within_s=2)

    verbs.cancel(database, job_id)
    job_when(database, job_id, lambda job: job.is_terminal, "ends")
    assert_ended(database, job_id, state=JobState.CANCELLED)
    database.close()
