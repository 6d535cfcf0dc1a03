"""The same message, and the same request, twenty times."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs import store
from jobs.job import JobType
from jobs.queue import Doorbell
from jobs.store import JobFilter
from tests.faults.conftest import Start
from tests.faults.given import Patient, dataset, ended, fine_tune, fine_tune_body
from tests.faults.installation import Installation, Roster
from tests.faults.laws import assert_ended

pytestmark = pytest.mark.e2e

TIMES = 20


@pytest.fixture
def installation(start: Start) -> Installation:
    """Two workers that could take the same job."""
    return start(Roster(trains=2), lease_s=60.0)


def test_a_message_that_comes_twenty_times_is_one_run(installation: Installation) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    bell = Doorbell(installation.settings.redis_url)

    with installation.frozen("train-0"), installation.frozen("train-1"):
        job_id = fine_tune(installation, dataset_id)
        for _ in range(TIMES):
            bell.ring("train", job_id)
        bell.close()
    ended(database, job_id)
    # behind all the messages
    last = fine_tune(installation, dataset_id)
    ended(database, last)

    for each in (job_id, last):
        assert assert_ended(database, each).attempt == 1
    database.close()


def test_a_request_that_is_sent_twenty_times_at_once_with_one_key_is_one_job(
    installation: Installation,
) -> None:
    database = installation.database()
    body = fine_tune_body(dataset(installation))

    with Patient(installation) as client, ThreadPoolExecutor(TIMES) as pool:
        answers = list(
            pool.map(lambda _: client.post("/v1/fine-tunes", body, key="the same"), range(TIMES))
        )

    assert answers == [answers[0]] * TIMES
    made = store.list_jobs(database, JobFilter(type=JobType.FINE_TUNE), after=None, limit=TIMES)
    assert [job.id for job in made] == [answers[0]["id"]]
    ended(database, made[0].id)
    assert assert_ended(database, made[0].id).attempt == 1
    database.close()
