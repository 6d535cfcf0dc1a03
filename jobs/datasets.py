"""Datasets in the database: registered at once, filled in by their import job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from jobs import events, records, store, tables, uploads
from jobs.database import Database, db_now_ms
from jobs.dataset_spec import DatasetSpec, UploadSource
from jobs.errors import DatasetInUseError, NotFoundError
from jobs.ids import new_dataset_id
from jobs.job import FINAL_STATES, Job, JobType
from jobs.job_fields import DEFAULT_PRIORITY
from jobs.spec import DatasetImportSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset; ``state`` is importing, ready or failed."""

    id: str
    name: str
    owner: str
    state: str
    job_id: str
    spec: Mapping[str, Any]
    digest: str | None
    counts: Mapping[str, int] | None
    classes: Sequence[Mapping[str, Any]]
    report: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    metadata: Mapping[str, str]
    version: int
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOutcome:
    """What an import found: counts by part, classes with counts, and the report."""

    digest: str
    counts: Mapping[str, int]
    classes: Sequence[Mapping[str, Any]]
    report: Mapping[str, Any]


_FIELDS = tuple(field.name for field in fields(Dataset))


def register(
    connection: Connection,
    request: DatasetSpec,
    *,
    owner: str = "local",
    chain: store.Chain | None = None,
    priority: int = DEFAULT_PRIORITY,
) -> Dataset:
    """The dataset exists and its import job is queued, as part of the transaction.

    Raises:
        NotFoundError: the upload that it names is gone.
    """
    if isinstance(request.source, UploadSource):
        uploads.use(connection, request.source.upload_id)
    dataset_id, chain = new_dataset_id(), chain or store.Chain()
    connection.execute(
        insert(tables.datasets).values(
            id=dataset_id,
            name=request.name,
            owner=owner,
            state="importing",
            job_id=chain.job_id,
            spec=request.model_dump(mode="json"),
            classes=[],
            metadata=dict(request.metadata),
            version=1,
            created_ms=db_now_ms(connection),
        )
    )
    store.submit(
        connection,
        JobType.DATASET_IMPORT,
        DatasetImportSpec(dataset=dataset_id, request=request, priority=priority),
        dataset_id=dataset_id,
        chain=chain,
        owner=owner,
    )
    return fetch(connection, dataset_id)


def fetch(connection: Connection, dataset_id: str, *, lock: bool = False) -> Dataset:
    """The dataset as this transaction sees it; ``lock`` keeps other writers away until its end.

    Raises:
        NotFoundError: no dataset has this id.
    """
    query = select(tables.datasets).where(tables.datasets.c.id == dataset_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFoundError("dataset", dataset_id)
    return _dataset(row)


def get(database: Database, dataset_id: str) -> Dataset:
    """The dataset as it stands now.

    Raises:
        NotFoundError: no dataset has this id.
    """
    with database.read() as connection:
        return fetch(connection, dataset_id)


def list_datasets(
    database: Database, *, after: str | None, limit: int, owner: str | None = None
) -> list[Dataset]:
    """At most ``limit`` datasets, newest first, beginning behind the id ``after``.

    Without an owner those of all.
    """
    query = select(tables.datasets).order_by(tables.datasets.c.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(tables.datasets.c.owner == owner)
    if after is not None:
        query = query.where(tables.datasets.c.id < after)
    with database.read() as connection:
        return [_dataset(row) for row in connection.execute(query)]


def mark_ready(connection: Connection, job: Job, outcome: ImportOutcome) -> None:
    """The dataset can be trained on."""
    connection.execute(
        update(tables.datasets)
        .where(tables.datasets.c.id == job.dataset_id)
        .values(
            state="ready",
            digest=outcome.digest,
            counts=dict(outcome.counts),
            classes=[dict(entry) for entry in outcome.classes],
            report=dict(outcome.report),
        )
    )
    events.append(
        connection,
        job.id,
        "dataset.ready",
        {"dataset_id": job.dataset_id, "counts": dict(outcome.counts)},
        now_ms=db_now_ms(connection),
    )


def mark_failed(connection: Connection, job: Job, error: Mapping[str, Any], *, now_ms: int) -> None:
    """The dataset will never be ready; it carries the same error as its import job."""
    connection.execute(
        update(tables.datasets)
        .where(tables.datasets.c.id == job.dataset_id)
        .values(state="failed", error=dict(error))
    )
    events.append(
        connection,
        job.id,
        "dataset.failed",
        {"dataset_id": job.dataset_id, "error": dict(error)},
        now_ms=now_ms,
    )


def edit(
    database: Database,
    dataset_id: str,
    changes: Mapping[str, Any],
    *,
    expected_version: int | None = None,
) -> Dataset | None:
    """The dataset with its name or metadata changed; None when its version was another.

    Raises:
        NotFoundError: no dataset has this id.
    """
    with database.write() as connection:
        records.outdate_import(connection, dataset_id)
        dataset = fetch(connection, dataset_id, lock=True)
        if expected_version is not None and dataset.version != expected_version:
            return None
        connection.execute(
            update(tables.datasets)
            .where(tables.datasets.c.id == dataset_id)
            .values(**changes, version=tables.datasets.c.version + 1)
        )
        return fetch(connection, dataset_id)


def delete_dataset(database: Database, dataset_id: str) -> Dataset:
    """The dataset is gone; its finished jobs and models stay and keep its id.

    Raises:
        NotFoundError: no dataset has this id.
        DatasetInUseError: a job that is not finished needs it.
    """
    with database.write() as connection:
        records.outdate_import(connection, dataset_id)
        dataset = fetch(connection, dataset_id, lock=True)
        users = connection.scalars(
            select(tables.jobs.c.id)
            .where(
                tables.jobs.c.dataset_id == dataset_id,
                tables.jobs.c.state.not_in([state.value for state in FINAL_STATES]),
            )
            .order_by(tables.jobs.c.id)
            .limit(5)
        ).all()
        if users:
            raise DatasetInUseError(dataset_id, users)
        connection.execute(delete(tables.datasets).where(tables.datasets.c.id == dataset_id))
        return dataset


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset(**{name: getattr(row, name) for name in _FIELDS})
