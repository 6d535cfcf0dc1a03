"""What holds after every fault: the history of a job, and the equality of two trainings."""

from collections.abc import Sequence

from jobs import curves, events, models, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.events import FINAL_EVENT_TYPES, Event
from jobs.job import Job, JobState

Epoch = tuple[int, str, int, float | None, float | None, float | None]
"""What the clock does not decide of an epoch."""

_LET_GO = {"job.requeued", "job.paused"}


def assert_history(history: Sequence[Event]) -> int:
    """The events tell of one job that ended once; the number of its counted attempts is returned.

    Numbers have no gap and no double, nothing follows the end, and an attempt begins only after
    the one before it has been let go.
    """
    kinds = [event.type for event in history]
    assert [event.seq for event in history] == list(range(1, len(history) + 1))
    assert kinds[0] == "job.queued"
    assert [kind for kind in kinds if kind in FINAL_EVENT_TYPES] == kinds[-1:], kinds
    moves = [event for event in history if event.type in {"job.started", *_LET_GO}]
    attempts, let_go = moves[::2], moves[1::2]
    assert {event.type for event in attempts} <= {"job.started"}, kinds
    assert {event.type for event in let_go} <= _LET_GO, kinds
    return len(attempts) - sum(not event.data["is_counted"] for event in let_go)


def history_of(database: Database, job_id: str) -> list[Event]:
    """Every event of the job."""
    return events.read_after(database, job_id, 0, limit=1_000_000)


def assert_ended(database: Database, job_id: str, *, state: JobState = JobState.SUCCEEDED) -> Job:
    """The job, which ended once and so, with a history that agrees."""
    job = store.get(database, job_id)
    history = history_of(database, job_id)
    assert job.state == state, (job.state, job.error, [event.type for event in history])
    attempts = assert_history(history)
    assert history[-1].type == f"job.{state.value}"
    told = [(event.type, event.data) for event in history if event.type != "job.progress"]
    assert job.attempt == attempts, (job.attempt, told)
    assert job.event_seq == len(history)
    return job


def assert_one_model(database: Database, job_id: str) -> models.Model:
    """The only model that the job has made."""
    (model,) = (
        model
        for model in models.list_models(database, models.ModelFilter(), after=None, limit=10_000)
        if model.job_id == job_id
    )
    return model


def assert_equal_runs(
    database: Database, artifacts: Artifacts, first_id: str, *others: str
) -> None:
    """The trainings have the same curve, epochs and weights, to the bit."""
    curve, epochs, weights = _run(database, artifacts, first_id)
    assert curve
    for other in others:
        again, epochs_again, weights_again = _run(database, artifacts, other)
        assert again == curve
        assert epochs_again == epochs
        assert weights_again == weights, f"the weights of {other} are not those of {first_id}"


def _run(
    database: Database, artifacts: Artifacts, job_id: str
) -> tuple[list[curves.CurvePoint], list[Epoch], bytes]:
    rows = curves.read_epochs(database, job_id)
    numbers = [
        (row.epoch, row.phase, row.global_step, row.train_loss, row.valid_loss, row.accuracy)
        for row in rows
    ]
    path = artifacts.absolute(assert_one_model(database, job_id).path)
    return curves.read_points(database, job_id), numbers, path.read_bytes()
