import pytest

from jobs import checkpoints, curves, store
from jobs.checkpoints import Checkpoint
from jobs.curves import CurvePoint, EpochRow, ProgressUpdate
from jobs.database import Database
from jobs.job import Job, JobState
from tests.jobs import given


def record(database: Database, job: Job, new: list[CurvePoint]) -> None:
    update = ProgressUpdate(progress={"fraction": 0.1}, latest={"train_loss": 1.0}, points=new)
    curves.record_progress(database, job.id, job.fence, update)


def epoch(number: int, *, valid_loss: float | None = 0.5, accuracy: float = 0.9) -> EpochRow:
    """An epoch of ten steps."""
    return EpochRow(
        epoch=number,
        phase="frozen",
        global_step=10 * (number + 1),
        train_loss=1.0,
        valid_loss=valid_loss,
        accuracy=accuracy,
        error_rate=1 - accuracy,
        seconds=2.0,
    )


def losses(database: Database, job: Job) -> list[float | None]:
    found = curves.read_points(database, job.id)
    assert [point.global_step for point in found] == list(range(len(found)))
    return [point.loss for point in found]


def test_steps_come_back_as_they_were_written(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    written = given.points(0, 3)

    record(database, job, written)

    assert curves.read_points(database, job.id) == written
    assert curves.read_epochs(database, job.id) == []


def test_progress_is_seen_in_the_job_and_told_with_its_steps(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    record(database, job, given.points(0, 2))

    after, event = store.get(database, job.id), given.last_event(database, job.id)
    assert after.progress == {"fraction": 0.1}
    assert after.latest == {"train_loss": 1.0}
    assert event.type == "job.progress"
    assert event.data["phase"] == "frozen"
    assert [step["global_step"] for step in event.data["steps"]] == [0, 1]


def test_progress_may_be_told_without_a_step(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    record(database, job, [])

    assert losses(database, job) == []
    assert given.last_event(database, job.id).data["steps"] == []


def test_a_loss_that_is_not_finite_is_none(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    (point,) = given.points(0, 1)
    broken = CurvePoint(
        **{**{name: getattr(point, name) for name in point.__slots__}, "loss": None}
    )

    record(database, job, [broken])

    assert curves.read_points(database, job.id) == [broken]


def test_steps_that_are_sent_twice_are_kept_once(database: Database) -> None:
    """The acknowledgement of the first write may have been lost on its way."""
    job = given.job_in(database, JobState.RUNNING)

    record(database, job, given.points(0, 3))
    record(database, job, given.points(0, 3))
    record(database, job, given.points(3, 5))

    assert losses(database, job) == [1.0] * 5


def test_a_new_attempt_goes_on_from_the_checkpoint_without_gap_or_double(
    database: Database,
) -> None:
    first = given.job_in(database, JobState.RUNNING)
    record(database, first, given.points(0, 20, loss=1.0))
    curves.record_epoch(database, first.id, first.fence, epoch(0))
    checkpoints.record(database, first.id, first.fence, Checkpoint("jobs/a", 12))
    record(database, first, given.points(20, 25, loss=1.0))
    curves.record_epoch(database, first.id, first.fence, epoch(1))

    second = given.claimed_again(database, first)

    assert losses(database, second) == [1.0] * 12
    assert [row.epoch for row in curves.read_epochs(database, second.id)] == [0]
    record(database, second, given.points(12, 15, loss=2.0))
    assert losses(database, second) == [1.0] * 12 + [2.0] * 3


def test_an_attempt_without_a_checkpoint_begins_an_empty_curve(database: Database) -> None:
    first = given.job_in(database, JobState.RUNNING)
    record(database, first, given.points(0, 5))
    curves.record_epoch(database, first.id, first.fence, epoch(0))

    second = given.claimed_again(database, first)

    assert losses(database, second) == []
    assert curves.read_epochs(database, second.id) == []
    assert second.best == {}


def test_a_claim_leaves_the_curves_of_other_jobs_alone(database: Database) -> None:
    first = given.job_in(database, JobState.RUNNING)
    record(database, first, given.points(0, 5))

    given.a_job(database)
    given.running(database)

    assert losses(database, first) == [1.0] * 5


def test_the_best_epochs_are_remembered_and_ties_go_to_the_first(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    for row in (
        epoch(0, valid_loss=0.5, accuracy=0.8),
        epoch(1, valid_loss=0.3, accuracy=0.9),
        epoch(2, valid_loss=0.4, accuracy=0.9),
        epoch(3, valid_loss=None, accuracy=0.7),
    ):
        curves.record_epoch(database, job.id, job.fence, row)

    after = store.get(database, job.id)
    assert after.best == {
        "valid_loss": {"value": 0.3, "epoch": 1},
        "accuracy": {"value": 0.9, "epoch": 1},
    }
    assert after.latest["valid_loss"] is None
    assert after.latest["accuracy"] == 0.7


def test_what_was_best_behind_the_checkpoint_is_forgotten(database: Database) -> None:
    first = given.job_in(database, JobState.RUNNING)
    curves.record_epoch(database, first.id, first.fence, epoch(0, valid_loss=0.5))
    checkpoints.record(database, first.id, first.fence, Checkpoint("jobs/a", 10))
    curves.record_epoch(database, first.id, first.fence, epoch(1, valid_loss=0.1))

    second = given.claimed_again(database, first)

    assert second.best["valid_loss"] == {"value": 0.5, "epoch": 0}


def test_a_perfect_accuracy_may_be_written_as_a_whole_number(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    curves.record_epoch(database, job.id, job.fence, epoch(0, valid_loss=0, accuracy=1))
    curves.record_epoch(database, job.id, job.fence, epoch(1, valid_loss=1, accuracy=0))

    assert store.get(database, job.id).best["accuracy"] == {"value": 1.0, "epoch": 0}


def test_an_epoch_that_is_sent_twice_is_kept_once(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    curves.record_epoch(database, job.id, job.fence, epoch(0))
    curves.record_epoch(database, job.id, job.fence, epoch(0))

    assert curves.read_epochs(database, job.id) == [epoch(0)]


def test_a_warning_is_told(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    curves.record_warning(database, job.id, job.fence, "batch_size_reduced", "32 photos")

    assert given.last_event(database, job.id).data == {
        "code": "batch_size_reduced",
        "detail": "32 photos",
    }


@pytest.mark.parametrize(("every", "steps"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (3, [0, 3, 4])])
def test_a_thinned_curve_keeps_both_ends(every: int, steps: list[int], database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    record(database, job, given.points(0, 5))

    shown = curves.read_points(database, job.id, every=every)

    assert curves.count_points(database, job.id) == 5
    assert [point.global_step for point in shown] == steps
