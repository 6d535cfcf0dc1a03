"""What finished jobs have beside the database."""

import json
from typing import Any

import pytest

from jobs import datasets, leases, records, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import ImportOutcome
from jobs.job import FINAL_STATES, JobState, JobType
from tests.jobs import given


def record_of(artifacts: Artifacts, job_id: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(artifacts.record_file(job_id).read_bytes())


@pytest.mark.parametrize("state", JobState)
def test_a_job_has_a_file_once_it_has_ended(
    database: Database, artifacts: Artifacts, state: JobState
) -> None:
    job = given.job_in(database, state)

    assert records.write_due(database, artifacts) == {}

    assert artifacts.record_file(job.id).exists() == (state in FINAL_STATES)


def test_the_file_says_what_was_asked_and_how_it_ended(
    database: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, JobState.FAILED)

    records.write_due(database, artifacts)

    record = record_of(artifacts, job.id)
    assert record["job"]["spec"] == job.spec
    assert record["job"]["error"]["code"] == "loss_diverged"
    kinds = [row[record["events"]["columns"].index("type")] for row in record["events"]["rows"]]
    assert kinds == given.history(database, job.id)


def test_nothing_is_written_twice(database: Database, artifacts: Artifacts) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    records.write_due(database, artifacts)
    artifacts.record_file(job.id).unlink()

    records.write_due(database, artifacts)

    assert not artifacts.record_file(job.id).exists()


def test_a_job_that_is_renamed_after_its_end_is_written_again(
    database: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    records.write_due(database, artifacts)

    store.edit(database, job.id, {"name": "the good one"})
    records.write_due(database, artifacts)

    assert record_of(artifacts, job.id)["job"]["name"] == "the good one"


def test_the_file_of_an_import_follows_its_dataset(
    database: Database, artifacts: Artifacts
) -> None:
    dataset = a_ready_dataset(database)
    records.write_due(database, artifacts)
    assert record_of(artifacts, dataset.job_id)["datasets"][0]["digest"] == "abc"

    datasets.edit(database, dataset.id, {"name": "cats"})
    records.write_due(database, artifacts)
    assert record_of(artifacts, dataset.job_id)["datasets"][0]["name"] == "cats"

    datasets.delete_dataset(database, dataset.id)
    records.write_due(database, artifacts)
    assert record_of(artifacts, dataset.job_id)["datasets"] == []


def test_a_file_that_cannot_be_written_is_tried_again_and_keeps_no_other_from_its_turn(
    database: Database, artifacts: Artifacts
) -> None:
    blocked = given.job_in(database, JobState.FAILED)
    other = given.job_in(database, JobState.CANCELLED, JobType.LR_FIND)
    in_the_way = artifacts.job_folder(blocked.id)
    in_the_way.parent.mkdir(parents=True)
    in_the_way.touch()

    assert list(records.write_due(database, artifacts)) == [blocked.id]
    assert artifacts.record_file(other.id).exists()
    assert store.get(database, blocked.id) == blocked

    in_the_way.unlink()
    assert records.write_due(database, artifacts) == {}
    assert artifacts.record_file(blocked.id).exists()


def test_a_job_that_is_deleted_while_its_file_is_written_leaves_none(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    encoded = records.encoded

    def deleted_meanwhile(record: dict[str, Any]) -> bytes:
        store.delete_job(database, job.id)
        return encoded(record)

    monkeypatch.setattr(records, "encoded", deleted_meanwhile)
    records.write_due(database, artifacts)

    assert not artifacts.job_folder(job.id).exists()


def test_a_change_during_the_writing_is_written_next(
    database: Database, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    encoded = records.encoded

    def renamed_meanwhile(record: dict[str, Any]) -> bytes:
        store.edit(database, job.id, {"name": "late"})
        return encoded(record)

    with monkeypatch.context() as during:
        during.setattr(records, "encoded", renamed_meanwhile)
        records.write_due(database, artifacts)
    assert record_of(artifacts, job.id)["job"]["name"] != "late"
    records.write_due(database, artifacts)

    assert record_of(artifacts, job.id)["job"]["name"] == "late"


def test_jobs_that_end_without_a_worker_have_files_too(
    database: Database, artifacts: Artifacts
) -> None:
    needed = given.a_job(database, JobType.LR_FIND)
    with database.write() as connection:
        behind = store.submit(
            connection,
            JobType.FINE_TUNE,
            given.SPECS[JobType.FINE_TUNE],
            dataset_id="ds_1",
            chain=store.Chain(depends_on=[needed.id]),
        )
    verbs.cancel(database, needed.id)

    records.write_due(database, artifacts)

    assert record_of(artifacts, needed.id)["job"]["state"] == "cancelled"
    assert record_of(artifacts, behind.id)["job"]["error"]["code"] == "dependency_failed"
    assert record_of(artifacts, behind.id)["depends_on"] == [needed.id]


def a_ready_dataset(database: Database) -> datasets.Dataset:
    dataset = given.a_dataset(database)
    job = given.running(database, JobType.DATASET_IMPORT)
    outcome = ImportOutcome(digest="abc", counts={"usable": 1}, classes=[], report={})
    leases.succeed(
        database,
        job.id,
        job.fence,
        values={},
        also=lambda connection: datasets.mark_ready(connection, job, outcome),
    )
    return datasets.get(database, dataset.id)
