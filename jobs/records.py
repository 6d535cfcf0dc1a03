"""Finished jobs beside the database: ``job.json`` in each one's folder, to rebuild a lost one from.

A job's row counts what should be in the file (``record_wanted``) and what is (``record_written``).
Whoever ends or changes a job only counts up, in the same transaction; files are written later, by
any process, as often as it takes. Two writers cannot hide a change: the later one leaves the count
of what it has read.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, Table, func, select, update

from jobs import tables
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import FINAL_STATES, JobType

SCHEMA = 1
"""The version of the file's layout."""

COUNTERS = frozenset({"record_wanted", "record_written"})
"""Columns of a job that are about its file and not in it."""

COMPACT = {"events": tables.events, "curve": tables.curve_points, "epochs": tables.epochs}
"""Parts of the file that are long: column names once, then rows."""

_REPEATED_BY_THE_CURVE = "job.progress"


def outdate(connection: Connection, job_ids: Sequence[str]) -> None:
    """The files of these jobs, as far as they have ended, are to be written again."""
    columns = tables.jobs.c
    connection.execute(
        update(tables.jobs)
        .where(columns.id.in_(job_ids))
        .values(record_wanted=columns.record_wanted + 1)
    )


def outdate_import(connection: Connection, dataset_id: str) -> None:
    """The file of the job that imported this dataset is to be written again.

    Comes before the dataset's own lock: an import that ends locks its job first.
    """
    columns, dataset = tables.jobs.c, tables.datasets.c
    import_job = select(dataset.job_id).where(dataset.id == dataset_id).scalar_subquery()
    connection.execute(
        update(tables.jobs)
        .where(columns.id == import_job)
        .values(record_wanted=columns.record_wanted + 1)
    )


def write_due(database: Database, artifacts: Artifacts, *, limit: int = 100) -> dict[str, OSError]:
    """At most ``limit`` finished jobs have their file; those whose could not be written, and why.

    Any number of processes may do it at once, and it is safe to repeat.
    """
    failed: dict[str, OSError] = {}
    for job_id in _due(database, limit):
        try:
            write(database, artifacts, job_id)
        except OSError as problem:
            failed[job_id] = problem
    return failed


def write(database: Database, artifacts: Artifacts, job_id: str) -> None:
    """The job's file says what the database says; a job that was deleted has none.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
    """
    with database.read() as connection:
        record = read(connection, job_id)
        if record is None:
            return
        wanted = connection.scalar(select(tables.jobs.c.record_wanted).where(_is(job_id)))
    file = artifacts.record_file(job_id)
    artifacts.store.write(file, encoded(record))
    if not _note_written(database, job_id, wanted):
        _remove_with_folder(artifacts, file)


def read(connection: Connection, job_id: str) -> dict[str, Any] | None:
    """All that the database knows of the job and of what it made; None without such a job."""
    job = connection.execute(select(tables.jobs).where(_is(job_id))).one_or_none()
    if job is None:
        return None
    datasets, needed = tables.datasets.c, tables.dependencies.c
    imported = job.dataset_id if job.type == JobType.DATASET_IMPORT else None
    on_job_ids = connection.scalars(
        select(needed.on_job_id).where(needed.job_id == job_id).order_by(needed.on_job_id)
    )
    models = select(tables.models).where(tables.models.c.job_id == job_id)
    aliases = select(tables.model_aliases).where(
        tables.model_aliases.c.model_id.in_(models.with_only_columns(tables.models.c.id))
    )
    return {
        "schema": SCHEMA,
        "job": {key: value for key, value in job._mapping.items() if key not in COUNTERS},
        "depends_on": list(on_job_ids),
        "datasets": _dicts(connection, select(tables.datasets).where(datasets.id == imported)),
        "models": _dicts(connection, models),
        "model_aliases": _dicts(connection, aliases.order_by(tables.model_aliases.c.alias)),
        **{name: _compact(connection, table, job_id) for name, table in COMPACT.items()},
    }


def encoded(record: Mapping[str, Any]) -> bytes:
    """The record as the file holds it."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )


def _due(database: Database, limit: int) -> list[str]:
    columns = tables.jobs.c
    query = (
        select(columns.id)
        .where(
            columns.record_wanted != columns.record_written,
            columns.state.in_([state.value for state in FINAL_STATES]),
        )
        # those that can never be written must not keep the others from their turn
        .order_by(func.random())
        .limit(limit)
    )
    with database.read() as connection:
        return list(connection.scalars(query))


def _note_written(database: Database, job_id: str, wanted: int | None) -> bool:
    """Whether the job is still there to be noted."""
    with database.write() as connection:
        changed = connection.execute(
            update(tables.jobs).where(_is(job_id)).values(record_written=wanted)
        )
        return changed.rowcount == 1


def _remove_with_folder(artifacts: Artifacts, file: Path) -> None:
    artifacts.remove(file)
    # others may be removing the folder's files at this moment
    with contextlib.suppress(OSError):
        file.parent.rmdir()


def _is(job_id: str) -> Any:  # noqa: ANN401 - an SQL condition
    return tables.jobs.c.id == job_id


def _dicts(connection: Connection, query: Select[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(query)]


def _compact(connection: Connection, table: Table, job_id: str) -> dict[str, Any]:
    columns = [column for column in table.columns if column.name != "job_id"]
    query = select(*columns).where(table.c.job_id == job_id).order_by(*table.primary_key)
    if table is tables.events:
        query = query.where(table.c.type != _REPEATED_BY_THE_CURVE)
    return {
        "columns": [column.name for column in columns],
        "rows": [list(row) for row in connection.execute(query)],
    }
