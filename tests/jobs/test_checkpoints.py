from collections.abc import Mapping
from typing import Any

import pytest

from jobs import checkpoints, curves, store
from jobs.checkpoints import Checkpoint
from jobs.curves import ProgressUpdate
from jobs.database import Database
from jobs.errors import LeaseLostError
from jobs.job import Job, JobState
from tests.jobs import given

FIRST, SECOND, THIRD = (Checkpoint(f"jobs/1/a1/checkpoint-{step}.pt", step) for step in (5, 9, 12))


def test_the_job_knows_its_newest_checkpoint_and_the_one_before(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    needed = [record(database, job, each) for each in (FIRST, SECOND, THIRD)]

    assert needed == [[FIRST.path], [SECOND.path, FIRST.path], [THIRD.path, SECOND.path]]
    after = store.get(database, job.id)
    assert (after.checkpoint, after.checkpoint_step) == (THIRD.path, THIRD.step)
    assert (after.earlier_checkpoint, after.earlier_checkpoint_step) == (SECOND.path, SECOND.step)
    assert given.history(database, job.id)[-1] == "job.checkpoint_saved"


def test_a_checkpoint_written_again_at_its_step_is_not_the_one_before_itself(
    database: Database,
) -> None:
    job = given.job_in(database, JobState.RUNNING)
    record(database, job, FIRST)
    record(database, job, SECOND)

    assert record(database, job, SECOND) == [SECOND.path, FIRST.path]


def test_an_attempt_whose_checkpoint_is_bad_goes_on_from_the_one_before_and_says_so(
    database: Database,
) -> None:
    job = given.job_in(database, JobState.RUNNING)
    record(database, job, FIRST)
    record(database, job, SECOND)
    write_curve(database, job, steps=SECOND.step)
    job = given.claimed_again(database, job)

    found = checkpoints.fall_back(database, job.id, job.fence, bad=SECOND.path, why="it is bad")

    after = store.get(database, job.id)
    assert found == FIRST
    assert (after.checkpoint, after.checkpoint_step) == (FIRST.path, FIRST.step)
    assert after.earlier_checkpoint is None
    assert len(curves.read_points(database, job.id)) == FIRST.step
    assert warning(database, job) == {
        "code": "checkpoint_corrupt",
        "detail": "it is bad; the training goes on from the one before, after step 5",
    }


def test_where_no_checkpoint_can_be_read_the_training_begins_anew_and_says_so(
    database: Database,
) -> None:
    job = given.job_in(database, JobState.RUNNING)
    record(database, job, FIRST)
    write_curve(database, job, steps=FIRST.step)
    job = given.claimed_again(database, job)

    found = checkpoints.fall_back(database, job.id, job.fence, bad=FIRST.path, why="it is bad")

    after = store.get(database, job.id)
    assert found is None
    assert (after.checkpoint, after.checkpoint_step) == (None, 0)
    assert curves.read_points(database, job.id) == []
    assert warning(database, job)["detail"] == "it is bad; the training begins anew"


def test_falling_back_twice_for_one_bad_checkpoint_spares_the_one_before(
    database: Database,
) -> None:
    """The first answer may have been lost on its way."""
    job = given.job_in(database, JobState.RUNNING)
    record(database, job, FIRST)
    record(database, job, SECOND)

    once, again = (
        checkpoints.fall_back(database, job.id, job.fence, bad=SECOND.path, why="it is bad")
        for _ in range(2)
    )

    assert once == again == FIRST
    assert given.history(database, job.id).count("job.warning") == 1


def test_an_attempt_that_lost_its_lease_cannot_send_the_next_one_back(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    record(database, job, FIRST)
    given.claimed_again(database, job)

    with pytest.raises(LeaseLostError):
        checkpoints.fall_back(database, job.id, job.fence, bad=FIRST.path, why="it is bad")

    assert store.get(database, job.id).checkpoint == FIRST.path


def record(database: Database, job: Job, saved: Checkpoint) -> list[str]:
    return checkpoints.record(database, job.id, job.fence, saved)


def write_curve(database: Database, job: Job, *, steps: int) -> None:
    update = ProgressUpdate(progress={}, latest={}, points=given.points(0, steps))
    curves.record_progress(database, job.id, job.fence, update)


def warning(database: Database, job: Job) -> Mapping[str, Any]:
    return given.last_event(database, job.id).data
