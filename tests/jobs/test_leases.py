from collections.abc import Callable

import pytest
from sqlalchemy import Connection, update

from jobs import checkpoints, curves, leases, store, tables, verbs
from jobs.back_off import BackOff
from jobs.checkpoints import Checkpoint
from jobs.database import Database, db_now_ms
from jobs.errors import LeaseLostError
from jobs.job import FINAL_STATES, Failure, JobState, JobType
from tests.jobs import given

Move = Callable[[Database, str, int], object]

POINT = curves.CurvePoint(
    phase="frozen", step=0, global_step=0, epoch=0, loss=1.0, smoothed=1.0, lrs=(0.1,), momentum=0.9
)
EPOCH = curves.EpochRow(
    epoch=0,
    phase="frozen",
    global_step=1,
    train_loss=1.0,
    valid_loss=0.5,
    accuracy=0.9,
    error_rate=0.1,
    seconds=2.0,
)
IO_ERROR = Failure(code="io_error", message="pixels: Input/output error", retryable=True)
BACK_OFF = BackOff(io_attempts=3, io_pause_s=60, io_longest_pause_s=3600)
NEW = curves.ProgressUpdate(progress={"fraction": 0.5}, latest={"train_loss": 1.0}, points=[POINT])

WRITES: dict[str, Move] = {
    "renew": lambda db, job, fence: leases.renew(db, job, fence, lease_ms=1),
    "phase": lambda db, job, fence: leases.enter_phase(db, job, fence, "unfrozen"),
    "progress": lambda db, job, fence: curves.record_progress(db, job, fence, NEW),
    "epoch": lambda db, job, fence: curves.record_epoch(db, job, fence, EPOCH),
    "warning": lambda db, job, fence: curves.record_warning(db, job, fence, "code", "detail"),
    "fallen back": lambda db, job, fence: checkpoints.fall_back(
        db, job, fence, bad="jobs/x", why="it is bad"
    ),
    "checkpoint": lambda db, job, fence: checkpoints.record(
        db, job, fence, Checkpoint("jobs/x", 7)
    ),
}
ENDS: dict[str, Move] = {
    "succeed": lambda db, job, fence: leases.succeed(db, job, fence, values={}),
    "fail": lambda db, job, fence: leases.fail(db, job, fence, given.FAILURE),
    "release": leases.release,
    "loss": lambda db, job, fence: leases.record_loss(db, job, fence, max_lost=9, reason="it died"),
    "crash": lambda db, job, fence: leases.record_crash(db, job, fence, given.FAILURE),
    "setback": lambda db, job, fence: leases.put_off(db, job, fence, IO_ERROR, BACK_OFF),
}
HELD_AND_ENDS = [
    (state, end)
    for state in ("preparing", "running", "pausing", "cancelling")
    for end in ("succeed", "fail", "release", "loss", "crash", "setback")
]


def test_nothing_is_claimed_from_an_empty_queue(database: Database) -> None:
    given.a_job(database, JobType.DATASET_IMPORT)

    assert leases.claim_next(database, "train", "worker-1", lease_ms=1000) is None


def test_the_highest_priority_is_claimed_first_then_the_oldest(database: Database) -> None:
    old, urgent, young = (given.a_job(database, priority=p).id for p in (5, 9, 5))

    assert [given.claimed(database).id for _ in range(3)] == [urgent, old, young]


def test_a_job_for_several_devices_goes_to_a_worker_that_owns_as_many(database: Database) -> None:
    large = given.a_job(database, priority=9, devices=3)
    small = given.a_job(database)

    def claimed(devices: int) -> str | None:
        job = leases.claim_next(database, "train", "w", lease_ms=1000, devices=devices)
        return None if job is None else job.id

    assert [claimed(2), claimed(2), claimed(3), claimed(64)] == [small.id, None, large.id, None]


def test_a_job_of_a_version_that_knew_one_device_only_is_claimed(database: Database) -> None:
    job = given.a_job(database)
    spec = {name: value for name, value in job.spec.items() if name != "devices"}
    with database.write() as connection:
        connection.execute(update(tables.jobs).values(spec=spec))

    assert given.claimed(database).devices == 1


def test_the_owner_with_the_fewest_running_jobs_goes_first(database: Database) -> None:
    for _ in range(3):
        given.a_job(database, owner="ana")
    bens = given.a_job(database, owner="ben")

    order = [given.claimed(database).owner for _ in range(4)]

    assert order == ["ana", "ben", "ana", "ana"]
    assert store.get(database, bens.id).state == JobState.PREPARING


def test_a_job_is_not_claimed_before_its_time(database: Database) -> None:
    job = given.a_job(database)
    with database.read() as connection:
        in_a_minute_ms = db_now_ms(connection) + 60_000

    given.set_columns(database, job.id, not_before_ms=in_a_minute_ms)

    assert leases.claim_next(database, "train", "worker-1", lease_ms=1000) is None


def test_a_claimed_job_has_an_owner_a_fence_and_a_lease(database: Database) -> None:
    given.a_job(database)

    job = given.claimed(database, worker="worker-7")

    assert (job.state, job.worker_id, job.fence, job.attempt) == ("preparing", "worker-7", 1, 1)
    assert job.started_ms is not None
    assert job.lease_until_ms == pytest.approx(job.started_ms + given.LEASE_MS, abs=5)
    assert given.history(database, job.id) == ["job.queued", "job.started"]


def test_the_fence_grows_with_every_claim_and_the_start_stays(database: Database) -> None:
    given.a_job(database)
    first = given.claimed(database)
    leases.record_loss(database, first.id, first.fence, max_lost=9, reason="it died")

    second = given.claimed(database)

    assert (first.fence, second.fence) == (1, 2)
    assert (first.attempt, second.attempt) == (1, 2)
    assert second.started_ms == first.started_ms


def test_renewing_moves_the_end_of_the_lease(database: Database) -> None:
    given.a_job(database)
    job = given.claimed(database)

    renewed = leases.renew(database, job.id, job.fence, lease_ms=600_000)

    assert job.lease_until_ms is not None
    assert renewed.lease_until_ms is not None
    assert renewed.lease_until_ms > job.lease_until_ms + 500_000


def test_renewing_tells_what_clients_want(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    verbs.stop(database, job.id)
    verbs.cancel(database, job.id)

    renewed = leases.renew(database, job.id, job.fence, lease_ms=1000)

    assert (renewed.state, renewed.stop_requested) == (JobState.CANCELLING, True)


@pytest.mark.parametrize("move", {**WRITES, **ENDS}.values(), ids={**WRITES, **ENDS}.keys())
def test_an_attempt_that_lost_its_lease_changes_nothing(move: Move, database: Database) -> None:
    old = given.job_in(database, JobState.RUNNING)
    leases.record_loss(database, old.id, old.fence, max_lost=9, reason="it went silent")
    given.running(database)
    seen = given.snapshot(database, old.id)

    with pytest.raises(LeaseLostError, match=f"fence {old.fence}"):
        move(database, old.id, old.fence)

    assert given.snapshot(database, old.id) == seen
    assert curves.read_points(database, old.id) == []
    assert curves.read_epochs(database, old.id) == []


@pytest.mark.parametrize("move", {**WRITES, **ENDS}.values(), ids={**WRITES, **ENDS}.keys())
@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.PAUSED])
def test_a_job_that_nobody_holds_takes_no_writes(
    state: JobState, move: Move, database: Database
) -> None:
    job = given.job_in(database, state)
    seen = given.snapshot(database, job.id)

    with pytest.raises(LeaseLostError):
        move(database, job.id, job.fence)

    assert given.snapshot(database, job.id) == seen


@pytest.mark.parametrize("move", WRITES.values(), ids=WRITES.keys())
@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_finished_job_takes_no_writes(state: JobState, move: Move, database: Database) -> None:
    job = given.job_in(database, state)
    seen = given.snapshot(database, job.id)

    with pytest.raises(LeaseLostError):
        move(database, job.id, job.fence)

    assert given.snapshot(database, job.id) == seen


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_ending_a_finished_job_again_changes_nothing(
    state: JobState, end: Move, database: Database
) -> None:
    """The acknowledgement of the first end may have been lost on its way."""
    job = given.job_in(database, state)
    seen = given.snapshot(database, job.id)

    assert end(database, job.id, job.fence) == state
    assert given.snapshot(database, job.id) == seen


@pytest.mark.parametrize(("state", "end"), HELD_AND_ENDS)
def test_the_end_of_an_attempt_leads_where_the_life_cycle_says(
    state: str, end: str, database: Database
) -> None:
    let_go = {"preparing": "queued", "running": "queued", "pausing": "paused"}
    reached = {"succeed": "succeeded", "fail": "failed"}.get(end) or let_go.get(state)
    expected = "cancelled" if state == "cancelling" else reached
    job = given.job_in(database, JobState(state))

    assert ENDS[end](database, job.id, job.fence) == expected

    after = store.get(database, job.id)
    assert after.state == expected
    assert (after.worker_id, after.lease_until_ms) == (None, None)
    assert given.history(database, job.id)[-1] == {"queued": "job.requeued"}.get(
        after.state.value, f"job.{after.state.value}"
    )


def test_cancel_wins_over_success(database: Database) -> None:
    job = given.job_in(database, JobState.CANCELLING)

    def must_not_run(_: Connection) -> None:
        raise AssertionError

    state = leases.succeed(
        database, job.id, job.fence, values={"model_id": "mdl_1"}, also=must_not_run
    )

    assert state == JobState.CANCELLED
    assert store.get(database, job.id).model_id is None


def test_success_brings_its_values_and_the_writes_that_belong_to_it(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    values = {"result": {"classes": ["a"]}, "model_id": "mdl_1", "stop_reason": "user"}

    leases.succeed(
        database,
        job.id,
        job.fence,
        values=values,
        also=lambda connection: given.rename(connection, job.id, "done"),
    )

    after = store.get(database, job.id)
    assert (after.result, after.model_id, after.stop_reason) == tuple(values.values())
    assert (after.name, after.error) == ("done", None)
    assert after.finished_ms is not None
    assert given.last_event(database, job.id).data == {"model_id": "mdl_1", "stop_reason": "user"}


def test_a_success_whose_writes_fail_has_not_happened(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    seen = given.snapshot(database, job.id)

    def breaks(connection: Connection) -> None:
        given.rename(connection, job.id, "half")
        raise KeyError

    with pytest.raises(KeyError):
        leases.succeed(database, job.id, job.fence, values={}, also=breaks)

    assert given.snapshot(database, job.id) == seen


def test_a_failure_is_told_in_the_job_and_in_its_last_event(database: Database) -> None:
    job = given.job_in(database, JobState.FAILED)

    assert job.error == {
        "code": "loss_diverged",
        "message": "the loss is not finite",
        "hint": "lower the rate",
        "phase": "frozen",
        "retryable": False,
    }
    assert given.last_event(database, job.id).data == {"error": job.error}


def test_releasing_does_not_count_the_attempt(database: Database) -> None:
    given.a_job(database)
    first = given.claimed(database)

    leases.release(database, first.id, first.fence)
    second = given.claimed(database)

    assert (second.attempt, second.fence) == (1, 2)


def test_a_queued_job_is_in_no_phase(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    leases.release(database, job.id, job.fence)

    assert store.get(database, job.id).phase is None


def test_entering_a_phase_starts_a_prepared_job(database: Database) -> None:
    given.a_job(database)
    job = given.claimed(database)

    leases.enter_phase(database, job.id, job.fence, "presizing")

    after = store.get(database, job.id)
    assert (after.state, after.phase) == (JobState.RUNNING, "presizing")
    assert given.last_event(database, job.id).data == {"phase": "presizing", "state": "running"}


@pytest.mark.parametrize("state", [JobState.PAUSING, JobState.CANCELLING])
def test_entering_a_phase_does_not_take_back_what_a_client_wants(
    state: JobState, database: Database
) -> None:
    job = given.job_in(database, state)

    leases.enter_phase(database, job.id, job.fence, "evaluating")

    after = store.get(database, job.id)
    assert (after.state, after.phase) == (state, "evaluating")


def test_a_job_may_lose_its_worker_only_so_often(database: Database) -> None:
    job = given.a_job(database)
    states = []
    for _ in range(3):
        held = given.running(database)
        states.append(
            leases.record_loss(database, job.id, held.fence, max_lost=3, reason="it died")
        )

    after = store.get(database, job.id)
    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    assert after.lost == 3
    assert after.error is not None
    assert after.error["code"] == "worker_lost"
    assert after.error["message"] == "the job lost its worker 3 times; the last time it died"
    assert after.error["phase"] == "frozen"


@pytest.mark.parametrize("state", [JobState.PREPARING, JobState.RUNNING])
def test_a_trainer_that_dies_twice_at_the_same_checkpoint_fails_the_job(
    state: JobState, database: Database
) -> None:
    first = given.job_in(database, state)
    assert leases.record_crash(database, first.id, first.fence, given.FAILURE) == JobState.QUEUED

    second = given.claimed(database)
    if state == JobState.RUNNING:
        leases.enter_phase(database, second.id, second.fence, "frozen")

    assert leases.record_crash(database, second.id, second.fence, given.FAILURE) == JobState.FAILED


def test_a_trainer_that_dies_again_after_a_further_checkpoint_is_tried_again(
    database: Database,
) -> None:
    given.a_job(database)
    for step in (10, 20, 30):
        job = given.running(database)
        checkpoints.record(database, job.id, job.fence, Checkpoint(f"jobs/{step}", step))
        state = leases.record_crash(database, job.id, job.fence, given.FAILURE)

        assert state == JobState.QUEUED


def test_a_paused_job_whose_trainer_died_twice_stays_paused(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    leases.record_crash(database, job.id, job.fence, given.FAILURE)
    again = given.running(database)
    verbs.pause(database, job.id)

    state = leases.record_crash(database, again.id, again.fence, given.FAILURE)

    assert state == JobState.PAUSED


def test_a_job_that_its_machine_failed_waits_longer_each_time_and_fails_at_the_third(
    database: Database,
) -> None:
    job = given.a_job(database)
    for number, longest_s in ((1, 60), (2, 120)):
        fence = given.claimed(database).fence

        state = leases.put_off(database, job.id, fence, IO_ERROR, BACK_OFF)

        waiting, told = store.get(database, job.id), given.last_event(database, job.id)
        assert (state, waiting.attempt) == (JobState.QUEUED, number)
        assert longest_s / 2 <= told.data["retry_in_s"] <= longest_s
        assert (told.type, told.data["code"]) == ("job.requeued", "io_error")
        assert (told.data["message"], told.data["attempts_left"]) == (IO_ERROR.message, 3 - number)
        assert leases.claim_next(database, "train", "worker-1", lease_ms=1000) is None
        given.set_columns(database, job.id, not_before_ms=0)
    fence = given.claimed(database).fence

    assert leases.put_off(database, job.id, fence, IO_ERROR, BACK_OFF) == JobState.FAILED

    failed = store.get(database, job.id)
    assert failed.attempt == 3
    assert failed.error is not None
    assert failed.error["code"] == "io_error"


def test_a_checkpoint_further_on_gives_all_attempts_back(database: Database) -> None:
    job = given.a_job(database)
    for step in range(1, 6):
        fence = given.claimed(database).fence
        checkpoints.record(database, job.id, fence, Checkpoint("jobs/x", step))

        assert leases.put_off(database, job.id, fence, IO_ERROR, BACK_OFF) == JobState.QUEUED

        given.set_columns(database, job.id, not_before_ms=0)


def test_a_job_that_is_resumed_waits_no_longer(database: Database) -> None:
    job = given.a_job(database)
    leases.put_off(database, job.id, given.claimed(database).fence, IO_ERROR, BACK_OFF)
    verbs.pause(database, job.id)

    verbs.resume(database, job.id)

    assert given.claimed(database).id == job.id
