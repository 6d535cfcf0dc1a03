from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from jobs import leases, store, sweeper, tables, verbs
from jobs.claims import claimable_queues
from jobs.database import Database, db_now_ms
from jobs.errors import LeaseLostError
from jobs.job import JobState
from jobs.sweeper import Sweeper
from tests.jobs import given

LEASE_S = 60.0


def a_sweeper(database: Database, *, max_lost: int = 50) -> Sweeper:
    return Sweeper(database, interval_s=5, lease_s=LEASE_S, max_lost=max_lost)


def make_due(database: Database, job_id: str) -> None:
    with database.read() as connection:
        past_ms = db_now_ms(connection) - 1000
    given.set_columns(database, job_id, lease_until_ms=past_ms)


def nobody_swept_for_a_minute(database: Database) -> None:
    with database.write() as connection:
        connection.execute(update(tables.sweeps).values(last_ms=tables.sweeps.c.last_ms - 60_000))


@pytest.mark.parametrize(
    ("state", "target", "event"),
    [
        (JobState.PREPARING, JobState.QUEUED, "job.requeued"),
        (JobState.RUNNING, JobState.QUEUED, "job.requeued"),
        (JobState.PAUSING, JobState.PAUSED, "job.paused"),
        (JobState.CANCELLING, JobState.CANCELLED, "job.cancelled"),
    ],
)
def test_a_due_lease_leads_where_the_life_cycle_says(
    state: JobState, target: JobState, event: str, database: Database
) -> None:
    job = given.job_in(database, state)
    make_due(database, job.id)

    assert a_sweeper(database).sweep() == [job.id]

    after = store.get(database, job.id)
    assert (after.state, after.worker_id, after.lease_until_ms) == (target, None, None)
    assert given.history(database, job.id)[-1] == event


@pytest.mark.parametrize("state", JobState)
def test_a_job_whose_lease_runs_is_left_alone(state: JobState, database: Database) -> None:
    job = given.job_in(database, state)
    seen = given.snapshot(database, job.id)

    assert a_sweeper(database).sweep() == []
    assert given.snapshot(database, job.id) == seen


def test_the_silent_worker_is_refused_when_it_wakes_up(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    make_due(database, job.id)
    a_sweeper(database).sweep()

    with pytest.raises(LeaseLostError):
        leases.renew(database, job.id, job.fence, lease_ms=1000)


def test_a_worker_that_renews_late_but_before_the_sweep_keeps_its_job(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    make_due(database, job.id)

    leases.renew(database, job.id, job.fence, lease_ms=1000)

    assert a_sweeper(database).sweep() == []


def test_a_job_that_lost_too_many_workers_fails(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    make_due(database, job.id)

    a_sweeper(database, max_lost=1).sweep()

    after = store.get(database, job.id)
    assert after.state == JobState.FAILED
    assert after.error is not None
    assert "worker-1 went silent" in after.error["message"]


def test_after_a_silence_holders_get_one_lease_time_from_every_sweeper(
    database: Database,
) -> None:
    job = given.job_in(database, JobState.RUNNING)
    first, second = a_sweeper(database), a_sweeper(database)
    first.sweep()
    nobody_swept_for_a_minute(database)
    make_due(database, job.id)

    assert first.sweep() == []
    assert second.sweep() == []
    assert a_sweeper(database).sweep() == []

    after = store.get(database, job.id)
    with database.read() as connection:
        now_ms = db_now_ms(connection)
    assert after.lease_until_ms == pytest.approx(now_ms + LEASE_S * 1000, abs=2000)


def test_a_holder_that_stays_silent_after_the_silence_loses_its_job(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    house = a_sweeper(database)
    house.sweep()
    nobody_swept_for_a_minute(database)
    house.sweep()

    make_due(database, job.id)

    assert house.sweep() == [job.id]


@pytest.mark.parametrize("jump_ms", [6_000, -3_600_000])
def test_after_a_jump_of_the_clock_holders_get_one_lease_time(
    jump_ms: int, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = given.job_in(database, JobState.RUNNING)
    house = a_sweeper(database)
    house.sweep()
    make_due(database, job.id)
    monkeypatch.setattr(sweeper, "db_now_ms", lambda connection: db_now_ms(connection) + jump_ms)

    assert house.sweep() == []
    assert house.sweep() == []

    with database.read() as connection:
        now_ms = db_now_ms(connection) + jump_ms
    assert store.get(database, job.id).lease_until_ms == pytest.approx(
        now_ms + LEASE_S * 1000, abs=2000
    )


def test_a_clock_that_was_set_back_is_known_to_a_sweeper_that_has_just_begun(
    database: Database,
) -> None:
    """Else the job of a worker that is gone would wait for as long as the clock was set back."""
    job = given.job_in(database, JobState.RUNNING)
    a_sweeper(database).sweep()
    an_hour_ms = 3_600_000
    given.set_columns(database, job.id, lease_until_ms=(job.lease_until_ms or 0) + an_hour_ms)
    with database.write() as connection:
        later = tables.sweeps.c.last_ms + an_hour_ms
        connection.execute(update(tables.sweeps).values(last_ms=later))

    assert a_sweeper(database).sweep() == []

    with database.read() as connection:
        now_ms = db_now_ms(connection)
    assert store.get(database, job.id).lease_until_ms == pytest.approx(
        now_ms + LEASE_S * 1000, abs=60_000
    )


def test_of_many_that_sweep_in_one_moment_one_writes_so(database: Database) -> None:
    a_sweeper(database).sweep()
    with database.read() as connection:
        noted_ms = connection.scalar(select(tables.sweeps.c.last_ms))
    due = given.job_in(database, JobState.RUNNING)
    make_due(database, due.id)

    assert a_sweeper(database).sweep() == [due.id]

    with database.read() as connection:
        assert connection.scalar(select(tables.sweeps.c.last_ms)) == noted_ms


def test_many_sweepers_at_once_take_each_job_once(database: Database) -> None:
    jobs = [given.a_job(database) for _ in range(20)]
    for _ in jobs:
        make_due(database, given.claimed(database).id)

    with ThreadPoolExecutor(8) as threads:
        sweeps = [threads.submit(a_sweeper(database).sweep) for _ in range(8)]
        taken = [job_id for sweep in sweeps for job_id in sweep.result()]

    assert sorted(taken) == sorted(job.id for job in jobs)
    assert {store.get(database, job.id).lost for job in jobs} == {1}


def test_a_queue_is_claimable_while_a_job_waits_in_it(database: Database) -> None:
    assert claimable_queues(database) == []
    given.a_dataset(database)
    job = given.a_job(database)
    assert claimable_queues(database) == ["prepare", "train"]

    verbs.pause(database, job.id)

    assert claimable_queues(database) == ["prepare"]


def test_a_job_that_waits_for_its_time_does_not_make_its_queue_claimable(
    database: Database,
) -> None:
    given.set_columns(database, given.a_job(database).id, not_before_ms=2**52)

    assert claimable_queues(database) == []
