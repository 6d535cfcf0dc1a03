import pytest

from jobs import store, verbs
from jobs.database import Database
from jobs.errors import InvalidTransitionError, NotFoundError
from jobs.job import FINAL_STATES, JobState, JobType
from jobs.store import JobFilter
from tests.jobs import given


def listed(database: Database, chosen: JobFilter) -> list[str]:
    return [job.id for job in store.list_jobs(database, chosen, after=None, limit=100)]


def test_a_submitted_job_is_queued_and_visible_at_once(database: Database) -> None:
    job = given.a_job(database, name="first try", priority=7)

    assert store.get(database, job.id) == job
    assert (job.state, job.name, job.priority, job.version) == ("queued", "first try", 7, 1)
    assert (job.attempt, job.fence, job.lost, job.event_seq) == (0, 0, 0, 1)
    assert (job.error, job.progress, job.phase, job.worker_id) == (None, None, None, None)
    assert job.metadata == {"run": "first"}
    assert given.last_event(database, job.id).data == {"type": "fine_tune", "queue": "train"}


def test_a_job_that_does_not_exist_is_not_found(database: Database) -> None:
    with pytest.raises(NotFoundError, match="no job has the id 'job_0'"):
        store.get(database, "job_0")


def test_jobs_are_listed_newest_first_in_pages(database: Database) -> None:
    old, middle, new = (given.a_job(database).id for _ in range(3))

    first = store.list_jobs(database, JobFilter(), after=None, limit=2)
    rest = store.list_jobs(database, JobFilter(), after=first[-1].id, limit=2)

    assert [job.id for job in first] == [new, middle]
    assert [job.id for job in rest] == [old]


def test_jobs_are_listed_oldest_first_when_asked(database: Database) -> None:
    old, middle, new = (given.a_job(database).id for _ in range(3))

    jobs = store.list_jobs(database, JobFilter(), after=old, limit=9, ascending=True)

    assert [job.id for job in jobs] == [middle, new]


def test_a_list_shows_what_was_chosen(database: Database) -> None:
    tune, find = given.a_job(database), given.a_job(database, JobType.LR_FIND)
    verbs.cancel(database, find.id)

    assert listed(database, JobFilter(type=JobType.LR_FIND)) == [find.id]
    assert listed(database, JobFilter(state=JobState.QUEUED)) == [tune.id]
    assert listed(database, JobFilter(dataset_id="ds_2")) == []
    assert listed(database, JobFilter(created_after_ms=find.created_ms)) == []
    assert listed(database, JobFilter(metadata={"run": "first"})) == [tune.id]


@pytest.mark.parametrize(
    "key", ["a.b", "a b", 'a"b', "a'b", "0", "$", "[0]", "ä", "😀", "a\\b", "%"]
)
def test_any_metadata_key_can_be_chosen(key: str, database: Database) -> None:
    job = given.a_job(database, metadata={key: "value"})
    given.a_job(database, metadata={"other": "value"})

    assert listed(database, JobFilter(metadata={key: "value"})) == [job.id]
    assert listed(database, JobFilter(metadata={key: "other"})) == []


def test_the_place_in_the_queue_counts_who_will_be_claimed_before(database: Database) -> None:
    low, first, second = (given.a_job(database, priority=p) for p in (1, 5, 5))
    given.a_job(database, JobType.DATASET_IMPORT)

    with database.read() as connection:
        places = store.queue_positions(connection, [low.id, first.id, second.id])

    assert places == {low.id: 3, first.id: 1, second.id: 2}


def test_unfinished_jobs_are_counted_by_queue_and_state(database: Database) -> None:
    given.job_in(database, JobState.RUNNING, JobType.LR_FIND)
    given.a_job(database)
    given.a_job(database)
    verbs.cancel(database, given.a_job(database).id)

    assert store.queue_counts(database) == {
        "predict": {},
        "prepare": {},
        "train": {"queued": 2, "running": 1},
    }


def test_an_edit_of_a_stale_version_is_not_made(database: Database) -> None:
    job = given.a_job(database)

    edited = store.edit(database, job.id, {"name": "a", "priority": 9}, expected_version=1)
    stale = store.edit(database, job.id, {"name": "b"}, expected_version=1)

    assert edited is not None
    assert (edited.name, edited.priority, edited.version) == ("a", 9, 2)
    assert stale is None
    assert store.get(database, job.id) == edited


def test_progress_does_not_make_an_edit_stale(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)

    assert store.edit(database, job.id, {"name": "a"}, expected_version=1) is not None


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_finished_job_can_be_deleted(state: JobState, database: Database) -> None:
    job = given.job_in(database, state)

    assert store.delete_job(database, job.id) == job

    with pytest.raises(NotFoundError):
        store.get(database, job.id)
    assert given.history(database, job.id) == []


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_an_unfinished_job_is_not_deleted(state: JobState, database: Database) -> None:
    job = given.job_in(database, state)

    with pytest.raises(InvalidTransitionError, match="cannot be deleted"):
        store.delete_job(database, job.id)

    assert store.get(database, job.id) == job
