import pytest

from jobs import datasets, leases, store, verbs
from jobs.database import Database
from jobs.datasets import ImportOutcome
from jobs.errors import DatasetInUseError, NotFoundError
from jobs.job import Job, JobState, JobType
from jobs.spec import DatasetImportSpec
from tests.jobs import given

OUTCOME = ImportOutcome(
    digest="abc",
    counts={"files": 3, "usable": 2},
    classes=[{"label": "cat", "count": 2}],
    report={"unreadable": []},
)


def import_of(database: Database, dataset: datasets.Dataset) -> Job:
    job = given.running(database, JobType.DATASET_IMPORT)
    assert job.id == dataset.job_id
    return job


def test_a_registered_dataset_is_importing_and_its_import_is_queued(database: Database) -> None:
    dataset = given.a_dataset(database)

    job = store.get(database, dataset.job_id)
    assert dataset.state == "importing"
    assert (job.type, job.state) == (JobType.DATASET_IMPORT, JobState.QUEUED)
    assert job.dataset_id == dataset.id
    assert DatasetImportSpec.model_validate(job.spec).request == given.DATASET
    assert dataset.metadata == {"for": "tests"}


def test_a_finished_import_makes_its_dataset_ready(database: Database) -> None:
    dataset = given.a_dataset(database)
    job = import_of(database, dataset)

    leases.succeed(
        database,
        job.id,
        job.fence,
        values={"result": {"digest": "abc"}},
        also=lambda connection: datasets.mark_ready(connection, job, OUTCOME),
    )

    after = datasets.get(database, dataset.id)
    assert (after.state, after.digest, after.error) == ("ready", "abc", None)
    assert (after.counts, after.classes) == (OUTCOME.counts, OUTCOME.classes)
    assert given.history(database, job.id)[-2:] == ["dataset.ready", "job.succeeded"]


def test_a_failed_import_fails_its_dataset_with_the_same_error(database: Database) -> None:
    dataset = given.a_dataset(database)
    job = import_of(database, dataset)

    leases.fail(database, job.id, job.fence, given.FAILURE)

    after = datasets.get(database, dataset.id)
    assert (after.state, after.error) == ("failed", store.get(database, job.id).error)
    assert given.history(database, job.id)[-2:] == ["dataset.failed", "job.failed"]


def test_an_import_that_is_cancelled_while_it_waits_fails_its_dataset(database: Database) -> None:
    dataset = given.a_dataset(database)

    verbs.cancel(database, dataset.job_id)

    after = datasets.get(database, dataset.id)
    assert after.state == "failed"
    assert after.error is not None
    assert after.error["code"] == "cancelled"
    assert given.history(database, dataset.job_id) == [
        "job.queued",
        "dataset.failed",
        "job.cancelled",
    ]


def test_an_import_that_is_cancelled_while_it_runs_does_not_become_ready(
    database: Database,
) -> None:
    dataset = given.a_dataset(database)
    job = import_of(database, dataset)
    verbs.cancel(database, job.id)

    leases.succeed(
        database,
        job.id,
        job.fence,
        values={},
        also=lambda connection: datasets.mark_ready(connection, job, OUTCOME),
    )

    assert datasets.get(database, dataset.id).state == "failed"
    assert given.history(database, job.id)[-2:] == ["dataset.failed", "job.cancelled"]


def test_a_lost_import_leaves_its_dataset_importing_until_it_is_given_up(
    database: Database,
) -> None:
    dataset = given.a_dataset(database)
    job = import_of(database, dataset)
    leases.record_loss(database, job.id, job.fence, max_lost=2, reason="it died")
    assert datasets.get(database, dataset.id).state == "importing"

    job = import_of(database, dataset)
    leases.record_loss(database, job.id, job.fence, max_lost=2, reason="it died")

    assert datasets.get(database, dataset.id).state == "failed"


def test_a_dataset_that_a_job_still_needs_is_not_deleted(database: Database) -> None:
    dataset = given.a_dataset(database)

    with pytest.raises(DatasetInUseError, match=f"in use by {dataset.job_id}"):
        datasets.delete_dataset(database, dataset.id)

    verbs.cancel(database, dataset.job_id)
    assert datasets.delete_dataset(database, dataset.id).id == dataset.id
    with pytest.raises(NotFoundError, match="no dataset has the id"):
        datasets.get(database, dataset.id)
    assert store.get(database, dataset.job_id).dataset_id == dataset.id


def test_an_edit_of_a_stale_version_is_not_made(database: Database) -> None:
    dataset = given.a_dataset(database)

    edited = datasets.edit(database, dataset.id, {"name": "cats"}, expected_version=1)
    stale = datasets.edit(database, dataset.id, {"name": "dogs"}, expected_version=1)

    assert edited is not None
    assert (edited.name, edited.version) == ("cats", 2)
    assert stale is None
    assert datasets.get(database, dataset.id) == edited


def test_datasets_are_listed_newest_first_in_pages(database: Database) -> None:
    old, middle, new = (given.a_dataset(database).id for _ in range(3))

    first = datasets.list_datasets(database, after=None, limit=2)
    rest = datasets.list_datasets(database, after=first[-1].id, limit=2)

    assert [dataset.id for dataset in first] == [new, middle]
    assert [dataset.id for dataset in rest] == [old]
