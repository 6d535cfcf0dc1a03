"""Datasets in the database: registered at once, filled in by their import job."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, insert, or_, select, update

from jobs import events, records, store, tables, uploads
from jobs.database import Database, db_now_ms
from jobs.dataset_spec import DatasetSpec, UploadSource
from jobs.errors import DatasetInUseError, DatasetNotReadyError, NotFoundError
from jobs.ids import new_dataset_id
from jobs.job import FINAL_STATES, Job, JobType
from jobs.job_fields import DEFAULT_PRIORITY
from jobs.spec import DatasetImportSpec
from jobs.version_spec import VersionOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One dataset; ``state`` is importing, ready or failed.

    ``parent_id`` is the dataset that it is a version of, which may be gone.
    """

    id: str
    name: str
    owner: str
    state: str
    job_id: str
    parent_id: str | None
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
_EXAMPLES = 5


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
    return _add(connection, request, None, owner=owner, chain=chain, priority=priority)


def register_version(
    connection: Connection,
    asked: VersionOf,
    *,
    owner: str = "local",
    chain: store.Chain | None = None,
    priority: int = DEFAULT_PRIORITY,
) -> Dataset:
    """Another dataset exists, and the job that makes it of its parent is queued.

    Raises:
        NotFoundError: the parent is gone.
        DatasetNotReadyError: the parent has no photos (yet).
    """
    # whoever deletes the parent waits, and then learns of the job
    parent = fetch(connection, asked.parent, lock=True)
    if parent.state != "ready":
        raise DatasetNotReadyError(parent.id, parent.state)
    request = DatasetSpec.model_validate(
        {
            **parent.spec,
            "name": asked.name or parent.name,
            "metadata": parent.metadata if asked.metadata is None else asked.metadata,
        }
    )
    return _add(connection, request, asked, owner=owner, chain=chain, priority=priority)


def _add(
    connection: Connection,
    request: DatasetSpec,
    version: VersionOf | None,
    *,
    owner: str,
    chain: store.Chain | None,
    priority: int,
) -> Dataset:
    dataset_id, chain = new_dataset_id(), chain or store.Chain()
    connection.execute(
        insert(tables.datasets).values(
            id=dataset_id,
            name=request.name,
            owner=owner,
            state="importing",
            job_id=chain.job_id,
            parent_id=None if version is None else version.parent,
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
        DatasetImportSpec(dataset=dataset_id, request=request, version=version, priority=priority),
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
    database: Database,
    *,
    after: str | None,
    limit: int,
    owner: str | None = None,
    parent_id: str | None = None,
) -> list[Dataset]:
    """At most ``limit`` datasets, newest first, beginning behind the id ``after``.

    Without an owner those of all; with a parent only its versions.
    """
    query = select(tables.datasets).order_by(tables.datasets.c.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(tables.datasets.c.owner == owner)
    if parent_id is not None:
        query = query.where(tables.datasets.c.parent_id == parent_id)
    if after is not None:
        query = query.where(tables.datasets.c.id < after)
    with database.read() as connection:
        return [_dataset(row) for row in connection.execute(query)]


def ancestors(database: Database, dataset_id: str) -> list[str]:
    """The datasets that this one is a version of, the nearest first; only the last may be gone."""
    found: list[str] = []
    columns = tables.datasets.c
    with database.read() as connection:
        while dataset_id:
            query = select(columns.parent_id).where(columns.id == dataset_id)
            dataset_id = connection.scalar(query) or ""
            found.append(dataset_id)
    return found[:-1]


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
        users = _users(connection, dataset_id)
        if users:
            raise DatasetInUseError(dataset_id, users)
        connection.execute(delete(tables.datasets).where(tables.datasets.c.id == dataset_id))
        return dataset


def _users(connection: Connection, dataset_id: str) -> Sequence[str]:
    """The first of the unfinished jobs that run on the dataset or make a version of it."""
    columns, version = tables.jobs.c, tables.datasets.c
    versions = select(version.id).where(version.parent_id == dataset_id)
    makes_version = and_(
        columns.type == JobType.DATASET_IMPORT.value, columns.dataset_id.in_(versions)
    )
    return connection.scalars(
        select(columns.id)
        .where(
            or_(columns.dataset_id == dataset_id, makes_version),
            columns.state.not_in([state.value for state in FINAL_STATES]),
        )
        .order_by(columns.id)
        .limit(_EXAMPLES)
    ).all()


def _dataset(row: Row[Any]) -> Dataset:
    return Dataset(**{name: getattr(row, name) for name in _FIELDS})
