"""No trainer outlives its worker by two seconds, or the next attempt would find the device full.

That holds for the one at work and for the one that stands by.
"""

import signal

import pytest

from jobs import verbs
from jobs.database import Database
from jobs.job import JobState
from tests.faults.conftest import Start
from tests.faults.given import dataset, ended, fine_tune, job_when, trains
from tests.faults.installation import Roster, Trainer, running, send, tree_of, wait_until
from tests.faults.laws import assert_ended

pytestmark = pytest.mark.e2e

OUTLIVES_S = 2.0


def test_no_trainer_outlives_its_worker_or_the_process_it_was_forked_from(start: Start) -> None:
    installation = start(Roster(trains=1))
    database = installation.database()
    # longer than anybody waits here
    job_id = fine_tune(installation, dataset(installation), epochs=500)

    for victim in ("worker", "template"):
        job_when(database, job_id, lambda job: trains(job) and job.checkpoint_step > 0, "trains")
        (trainer,) = wait_until(installation.trainers, "there is a trainer")
        template = installation.template_of("train-0")
        forked = _two_of(template)
        assert trainer.pid in forked
        if victim == "worker":
            installation.kill("train-0")
        else:
            send(template, signal.SIGKILL)
        _wait_for_their_end(forked, victim)
        _wait_for_the_next(database, trainer)
    verbs.cancel(database, job_id)
    ended(database, job_id)

    assert assert_ended(database, job_id, state=JobState.CANCELLED).attempt >= 3
    database.close()


def _two_of(template: int) -> set[int]:
    """The trainer at work and the one that stands by."""

    def two() -> set[int]:
        forked = tree_of(template) - {template}
        return forked if len(forked) == 2 else set()

    return wait_until(two, "another one stands by")


def _wait_for_their_end(forked: set[int], victim: str) -> None:
    ends = f"the trainers end with their {victim}"
    wait_until(lambda: not forked & running(), ends, within_s=OUTLIVES_S)


def _wait_for_the_next(database: Database, trainer: Trainer) -> None:
    job_when(database, trainer.job_id, lambda job: job.fence > trainer.fence, "goes on")
