"""No trainer outlives its worker by two seconds, at work or standing by, or the next attempt would find the device full."""

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
        forked = wait_until(lambda: _two_of(template), "another one stands by")
        assert trainer.pid in forked
        if victim == "worker":
            installation.kill("train-0")
        else:
            send(template, signal.SIGKILL)
        ends = f"trainers end with their {victim}"
        wait_until(lambda: not forked & running(), ends, within_s=OUTLIVES_S)
        _wait_for_the_next(database, trainer)
    verbs.cancel(database, job_id)
    ended(database, job_id)

    assert assert_ended(database, job_id, state=JobState.CANCELLED).attempt >= 3
    database.close()


def _two_of(template: int) -> set[int]:
    """The trainer at work and the one that stands by; none while they are not two."""
    forked = tree_of(template) - {template}
    return forked if len(forked) == 2 else set()


def _wait_for_the_next(database: Database, trainer: Trainer) -> None:
    job_when(database, trainer.job_id, lambda job: job.fence > trainer.fence, "goes on")
