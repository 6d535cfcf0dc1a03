from concurrent.futures import ThreadPoolExecutor

from jobs import curves, events, leases, verbs
from jobs.database import Database
from jobs.job import JobState
from tests.jobs import given


def test_a_whole_life_is_told_without_a_gap(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    verbs.pause(database, job.id)
    leases.release(database, job.id, job.fence)
    verbs.resume(database, job.id)
    again = given.running(database)
    leases.succeed(database, again.id, again.fence, values={})

    assert given.history(database, job.id) == [
        "job.queued",
        "job.started",
        "job.phase_changed",
        "job.pausing",
        "job.paused",
        "job.resumed",
        "job.started",
        "job.phase_changed",
        "job.succeeded",
    ]


def test_writers_at_once_take_each_number_once(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    def warn(_: int) -> None:
        curves.record_warning(database, job.id, job.fence, "code", "detail")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(warn, range(40)))

    assert len(given.history(database, job.id)) == 43


def test_reading_goes_on_behind_the_number_last_seen(database: Database) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)

    assert [event.seq for event in events.read_after(database, job.id, 2)] == [3, 4]
    assert [event.seq for event in events.read_after(database, job.id, 0, limit=2)] == [1, 2]
    assert events.read_after(database, job.id, 4) == []


def test_only_an_end_is_final(database: Database) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)

    finals = [event.is_final for event in events.read_after(database, job.id, 0)]

    assert finals == [False, False, False, True]


def test_each_job_counts_for_itself(database: Database) -> None:
    first, second = given.a_job(database), given.a_job(database)

    verbs.pause(database, first.id)

    assert given.history(database, first.id) == ["job.queued", "job.paused"]
    assert given.history(database, second.id) == ["job.queued"]
