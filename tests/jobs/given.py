"""Jobs brought into each state by the very moves that lead there."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select, update

from jobs import datasets, events, leases, models, store, tables, verbs
from jobs.curves import CurvePoint
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec, ParentFolderLabels, SampleSource
from jobs.ids import new_model_id
from jobs.job import QUEUE_OF, Failure, Job, JobState, JobType
from jobs.models import Model
from jobs.spec import (
    DatasetImportSpec,
    EvaluationSpec,
    ExportSpec,
    FineTuneSpec,
    JobSpec,
    LrFindSpec,
    ModelExportSpec,
    PredictionSpec,
    PredictSpec,
    PresizingPreviewSpec,
    ProbeSpec,
)

LEASE_MS = 60_000
FAILURE = Failure(code="loss_diverged", message="the loss is not finite", hint="lower the rate")

DATASET = DatasetSpec(
    name="pets",
    source=SampleSource(type="sample"),
    labels=ParentFolderLabels(rule="parent_folder"),
    metadata={"for": "tests"},
)
SPECS: Mapping[JobType, JobSpec] = {
    JobType.DATASET_IMPORT: DatasetImportSpec(dataset="ds_1", request=DATASET),
    JobType.LR_FIND: LrFindSpec(dataset="ds_1"),
    JobType.FINE_TUNE: FineTuneSpec(dataset="ds_1", metadata={"run": "first"}),
    JobType.EVALUATION: EvaluationSpec(model="mdl_1", dataset="ds_1"),
    JobType.PRESIZING_PREVIEW: PresizingPreviewSpec(dataset="ds_1"),
    JobType.EXPORT: ExportSpec(job="job_1", plot="loss-curve", content="1"),
    JobType.PROBE: ProbeSpec(fine_tune=FineTuneSpec(dataset="ds_1")),
    JobType.MODEL_EXPORT: ModelExportSpec(model="mdl_1"),
    JobType.PREDICT: PredictSpec(model="mdl_1", images=1),
    JobType.PREDICTION: PredictionSpec(model="mdl_1", dataset="ds_1"),
}


def a_job(
    database: Database,
    job_type: JobType = JobType.FINE_TUNE,
    *,
    owner: str = "local",
    **spec_fields: Any,  # noqa: ANN401 - whatever the spec has
) -> Job:
    """A freshly queued job."""
    spec = SPECS[job_type].model_copy(update=spec_fields)
    with database.write() as connection:
        return store.submit(connection, job_type, spec, dataset_id="ds_1", owner=owner)


def a_dataset(database: Database, **fields: Any) -> datasets.Dataset:  # noqa: ANN401 - as above
    """A dataset whose import is queued."""
    with database.write() as connection:
        return datasets.register(connection, DATASET.model_copy(update=fields))


def a_model(database: Database, **fields: Any) -> Model:  # noqa: ANN401 - as above
    """A model of a job that is gone, unless the fields say otherwise."""
    model = replace(
        Model(
            id=new_model_id(),
            name=None,
            owner="local",
            job_id="job_1",
            dataset_id="ds_1",
            architecture="resnet34",
            classes=["cat", "dog"],
            card={"accuracy": 0.9},
            path="models/mdl_1.safetensors",
            digest="0" * 64,
            size_bytes=2**33,
            metadata={"run": "first"},
            version=1,
            created_ms=1,
        ),
        **fields,
    )
    with database.write() as connection:
        models.add(connection, model)
    return model


def claimed(database: Database, queue: str = "train", worker: str = "worker-1") -> Job:
    """The next job of the queue, held by the worker."""
    job = leases.claim_next(database, queue, worker, lease_ms=LEASE_MS)
    assert job is not None
    return job


def running(database: Database, job_type: JobType = JobType.FINE_TUNE) -> Job:
    """The oldest queued job of this type, running."""
    job = claimed(database, QUEUE_OF[job_type])
    leases.enter_phase(database, job.id, job.fence, "frozen")
    return store.get(database, job.id)


def claimed_again(database: Database, job: Job) -> Job:
    """The next attempt at a job whose worker died."""
    leases.record_loss(database, job.id, job.fence, max_lost=9, reason="it died")
    return running(database)


def job_in(database: Database, state: JobState, job_type: JobType = JobType.FINE_TUNE) -> Job:
    """The database's only job of this type, in the state."""
    job = a_job(database, job_type)
    bring[state](database, job_type)
    job = store.get(database, job.id)
    assert job.state == state
    return job


def _cancelled(database: Database, job_type: JobType) -> None:
    verbs.cancel(database, _only(database, job_type).id)


def _paused(database: Database, job_type: JobType) -> None:
    verbs.pause(database, _only(database, job_type).id)


def _pausing(database: Database, job_type: JobType) -> None:
    verbs.pause(database, running(database, job_type).id)


def _cancelling(database: Database, job_type: JobType) -> None:
    verbs.cancel(database, running(database, job_type).id)


def _succeeded(database: Database, job_type: JobType) -> None:
    job = running(database, job_type)
    leases.succeed(database, job.id, job.fence, values={"result": {"classes": ["a", "b"]}})


def _failed(database: Database, job_type: JobType) -> None:
    job = running(database, job_type)
    leases.fail(database, job.id, job.fence, FAILURE)


bring: Mapping[JobState, Callable[[Database, JobType], object]] = {
    JobState.QUEUED: lambda database, job_type: None,
    JobState.PREPARING: lambda database, job_type: claimed(database, QUEUE_OF[job_type]),
    JobState.RUNNING: running,
    JobState.PAUSING: _pausing,
    JobState.PAUSED: _paused,
    JobState.CANCELLING: _cancelling,
    JobState.SUCCEEDED: _succeeded,
    JobState.FAILED: _failed,
    JobState.CANCELLED: _cancelled,
}


def _only(database: Database, job_type: JobType) -> Job:
    (job,) = store.list_jobs(database, store.JobFilter(type=job_type), after=None, limit=2)
    return job


def set_columns(database: Database, job_id: str, **values: Any) -> None:  # noqa: ANN401 - columns
    """The job's row has these values, whatever the engine thinks of it."""
    with database.write() as connection:
        connection.execute(update(tables.jobs).where(tables.jobs.c.id == job_id).values(**values))


def column(database: Database, job_id: str, name: str) -> Any:  # noqa: ANN401 - any column
    """One value of the job's row."""
    with database.read() as connection:
        query = select(tables.jobs.c[name]).where(tables.jobs.c.id == job_id)
        return connection.execute(query).scalar_one()


def rename(connection: Connection, job_id: str, name: str) -> None:
    """The job has another name once the transaction is committed."""
    connection.execute(update(tables.jobs).where(tables.jobs.c.id == job_id).values(name=name))


def last_event(database: Database, job_id: str) -> events.Event:
    """The newest event of the job."""
    return events.read_after(database, job_id, 0, limit=10_000)[-1]


def history(database: Database, job_id: str) -> list[str]:
    """The types of all events of the job, oldest first, after a look at their numbers."""
    found = events.read_after(database, job_id, 0, limit=10_000)
    assert [event.seq for event in found] == list(range(1, len(found) + 1))
    assert not any(event.is_final for event in found[:-1])
    return [event.type for event in found]


def snapshot(database: Database, job_id: str) -> tuple[Job, list[str]]:
    """All that a client can see of the job: nothing changed if two of them are equal."""
    return store.get(database, job_id), history(database, job_id)


def points(first: int, behind: int, *, loss: float = 1.0) -> list[CurvePoint]:
    """The steps from ``first`` to the one before ``behind``, all with this loss."""
    return [
        CurvePoint(
            phase="frozen",
            step=step,
            global_step=step,
            epoch=0,
            loss=loss,
            smoothed=loss,
            lrs=(1e-5, 1e-3),
            momentum=0.95,
        )
        for step in range(first, behind)
    ]
