"""A database that was lost, built again from the files of its finished jobs."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select

from jobs import curves, datasets, events, leases, models, records, store, tables
from jobs.artifacts import Artifacts, sha256_of
from jobs.database import Database
from jobs.job import JobState, JobType
from jobs.models import Model
from jobs.restore import restore
from tests.jobs import given
from tests.jobs.test_records import a_ready_dataset


@pytest.fixture
def database(new_database_url: Callable[[], str]) -> Iterator[Database]:
    """The database that will be lost, of each kind."""
    database = Database(new_database_url())
    yield database
    database.close()


@pytest.fixture
def empty(new_database_url: Callable[[], str]) -> Iterator[Database]:
    """The one that takes its place."""
    database = Database(new_database_url())
    yield database
    database.close()


def a_trained_job(database: Database, artifacts: Artifacts) -> str:
    """A fine-tune with a curve, an epoch, a model and all that a client can see of it."""
    given.a_job(database)
    job = given.running(database)
    curves.record_progress(database, job.id, job.fence, progress())
    curves.record_epoch(database, job.id, job.fence, EPOCH)
    file = artifacts.model_file("mdl_1")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"weights")
    model = Model(
        id="mdl_1",
        name=None,
        owner="ana",
        job_id=job.id,
        dataset_id="ds_1",
        architecture="resnet18",
        classes=["cat", "dog"],
        card={"epochs": 1},
        path=artifacts.relative(file),
        digest=sha256_of(file),
        size_bytes=7,
        metadata={},
        version=1,
        created_ms=1,
    )
    leases.succeed(
        database,
        job.id,
        job.fence,
        values={"model_id": "mdl_1"},
        also=lambda connection: models.add(connection, model),
    )
    return job.id


def progress() -> curves.ProgressUpdate:
    points = [
        curves.CurvePoint(
            phase="frozen",
            step=step,
            global_step=step,
            epoch=0,
            loss=None if step == 1 else 0.1 + step,
            smoothed=0.3,
            lrs=(1e-3, 1e-2),
            momentum=0.95,
        )
        for step in range(3)
    ]
    return curves.ProgressUpdate(progress={"step": 3}, latest={"loss": 2.1}, points=points)


EPOCH = curves.EpochRow(
    epoch=0,
    phase="frozen",
    global_step=3,
    train_loss=0.1 + 0.2,
    valid_loss=None,
    accuracy=0.5,
    error_rate=0.5,
    seconds=1.5,
)


def all_rows(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that a restored database has in common with the lost one."""
    found = {}
    with database.read() as connection:
        for table in (tables.jobs, *RESTORED):
            columns = [column for column in table.columns if column.name not in records.COUNTERS]
            query = select(*columns).order_by(*table.primary_key)
            if table is tables.events:
                query = query.where(table.c.type != "job.progress")
            found[table.name] = [tuple(row) for row in connection.execute(query)]
    return found


RESTORED = (
    tables.dependencies,
    tables.events,
    tables.curve_points,
    tables.epochs,
    tables.datasets,
    tables.models,
)


def test_every_row_of_finished_jobs_comes_back(
    database: Database, empty: Database, artifacts: Artifacts
) -> None:
    job_id = a_trained_job(database, artifacts)
    dataset = a_ready_dataset(database)
    given.job_in(database, JobState.FAILED, JobType.LR_FIND)
    with database.write() as connection:
        store.submit(
            connection,
            JobType.EVALUATION,
            given.SPECS[JobType.EVALUATION],
            dataset_id="ds_1",
            chain=store.Chain(depends_on=[job_id]),
        )
    given.bring[JobState.CANCELLED](database, JobType.EVALUATION)
    records.write_due(database, artifacts)

    report = restore(empty, artifacts)

    assert report.problems == []
    assert (len(report.jobs), report.datasets, report.models) == (4, [dataset.id], ["mdl_1"])
    assert all_rows(empty) == all_rows(database)
    assert curves.read_points(empty, job_id) == curves.read_points(database, job_id)


def test_a_second_time_changes_nothing(
    database: Database, empty: Database, artifacts: Artifacts
) -> None:
    job_id = a_trained_job(database, artifacts)
    records.write_due(database, artifacts)
    restore(empty, artifacts)
    store.edit(empty, job_id, {"name": "renamed since"})

    report = restore(empty, artifacts)

    assert (report.jobs, report.models, report.kept) == ([], [], 1)
    assert store.get(empty, job_id).name == "renamed since"


def test_a_dry_run_says_the_same_and_changes_nothing(
    database: Database, empty: Database, artifacts: Artifacts
) -> None:
    a_trained_job(database, artifacts)
    a_ready_dataset(database)
    records.write_due(database, artifacts)
    before = all_rows(empty)

    told = restore(empty, artifacts, dry_run=True)

    assert all_rows(empty) == before
    assert told == restore(empty, artifacts)


def test_a_restored_job_keeps_counting_its_events_and_needs_no_new_file(
    database: Database, empty: Database, artifacts: Artifacts
) -> None:
    job_id = a_trained_job(database, artifacts)
    records.write_due(database, artifacts)
    restore(empty, artifacts)
    artifacts.record_file(job_id).unlink()

    records.write_due(empty, artifacts)

    assert not artifacts.record_file(job_id).exists()
    last = events.read_after(empty, job_id, 0)[-1]
    assert last.seq == store.get(empty, job_id).event_seq
    assert last.is_final


def test_what_cannot_come_back_is_named_with_its_reason(
    database: Database, empty: Database, artifacts: Artifacts
) -> None:
    job_id = a_trained_job(database, artifacts)
    unfinished = given.a_job(database)
    records.write_due(database, artifacts)
    artifacts.job_folder(unfinished.id).mkdir()
    artifacts.model_file("mdl_1").write_bytes(b"damaged")
    artifacts.model_file("mdl_2").touch()
    artifacts.dataset_folder("ds_2").mkdir(parents=True)

    report = restore(empty, artifacts)

    assert report.jobs == [job_id]
    assert sorted(report.problems) == [
        "datasets/ds_2: no job.json has this dataset",
        f"jobs/{unfinished.id}: there is no job.json: the job had not ended",
        "models/mdl_1: the model's file does not have the SHA-256 that was recorded",
        "models/mdl_2.safetensors: no job.json has this model",
    ]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": 2}, "layout 2; this version knows 1"),
        ({"job": {"id": "job_0", "state": "failed"}}, "job.json is of job_0, failed"),
        ({"epochs": {"columns": ["epoch"], "rows": [[1, 2]]}}, "does not fit the database"),
    ],
)
def test_a_file_that_is_not_ours_is_named_and_the_others_come_back(
    database: Database, empty: Database, artifacts: Artifacts, change: dict[str, Any], named: str
) -> None:
    other = given.job_in(database, JobState.CANCELLED, JobType.LR_FIND)
    wrong = given.job_in(database, JobState.FAILED)
    records.write_due(database, artifacts)
    file = artifacts.record_file(wrong.id)
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **change}))

    report = restore(empty, artifacts)

    assert report.jobs == [other.id]
    assert len(report.problems) == 1
    assert named in report.problems[0]


def test_a_half_written_file_is_named(
    database: Database, empty: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, JobState.FAILED)
    records.write_due(database, artifacts)
    file = artifacts.record_file(job.id)
    file.write_bytes(file.read_bytes()[:-10])

    assert "cannot be read" in restore(empty, artifacts).problems[0]


def test_no_secret_is_in_the_files(database: Database, artifacts: Artifacts) -> None:
    job = given.job_in(database, JobState.FAILED)
    records.write_due(database, artifacts)

    record = json.loads(artifacts.record_file(job.id).read_bytes())

    assert record.keys() == {
        "schema", "job", "depends_on", "datasets", "models", "model_aliases", "events", "curve",
        "epochs",
    }  # fmt: skip


def test_a_dataset_whose_row_is_there_is_kept(
    database: Database, empty: Database, artifacts: Artifacts
) -> None:
    dataset = a_ready_dataset(database)
    records.write_due(database, artifacts)
    restore(empty, artifacts)
    datasets.edit(empty, dataset.id, {"name": "mine"})
    store.delete_job(empty, dataset.job_id)

    report = restore(empty, artifacts)

    assert (report.jobs, report.datasets) == ([dataset.job_id], [])
    assert datasets.get(empty, dataset.id).name == "mine"
