"""A lost database, built again from the ``job.json`` files of an artifact store.

What the database already holds is never changed, so it may be done twice, and into a database that
is in use. Ids stay what they were.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.exc import SQLAlchemyError

from jobs import records, tables
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import FINAL_STATES

Record = Mapping[str, Any]


class RecordInvalidError(Exception):
    """The file, or what it names, is not what `jobs.records` and the worker write."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What came back; ``problems`` says of each thing that did not why not.

    Attributes:
        kept: jobs that the database had already.
    """

    jobs: list[str] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    kept: int = 0
    problems: list[str] = field(default_factory=list)


def restore(
    database: Database,
    artifacts: Artifacts,
    *,
    only: Collection[str] | None = None,
    dry_run: bool = False,
) -> Report:
    """Every job with a file is in the database, or the report says why it is not.

    ``only`` restricts it to these jobs. With ``dry_run`` the report says what would be, and
    nothing is changed.

    Raises:
        StoreUnavailableError: the database does not answer.
    """
    report, waits_for = Report(), {}
    for job_id in _named(artifacts, "jobs", "job_"):
        if only is None or job_id in only:
            try:
                record = _read(artifacts, job_id)
                with database.write() as connection:
                    waits_for[job_id] = _add(connection, artifacts, record, report, dry_run)
            except RecordInvalidError as problem:
                report.problems.append(f"jobs/{job_id}: {problem}")
    with database.write() as connection:
        _add_dependencies(connection, waits_for, report, dry_run)
        if only is None:
            report.problems += _unnamed(connection, artifacts, report)
    return report


def _named(artifacts: Artifacts, folder: str, prefix: str) -> list[str]:
    names = artifacts.store.names(artifacts.root / folder)
    return [name for name in names if name.startswith(prefix)]


def _read(artifacts: Artifacts, job_id: str) -> Record:
    file = artifacts.record_file(job_id)
    try:
        record = json.loads(artifacts.store.read(file))
        schema, job = record["schema"], record["job"]
    except (FileNotFoundError, NotADirectoryError) as problem:
        raise RecordInvalidError("there is no job.json: the job had not ended") from problem
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise RecordInvalidError(f"job.json cannot be read: {problem!r}") from problem
    if schema != records.SCHEMA:
        raise RecordInvalidError(
            f"job.json has the layout {schema!r}; this version knows {records.SCHEMA}"
        )
    if job.get("id") != job_id or job.get("state") not in FINAL_STATES:
        raise RecordInvalidError(f"job.json is of {job.get('id')}, {job.get('state')}")
    return dict(record)


def _add(
    connection: Connection, artifacts: Artifacts, record: Record, report: Report, dry_run: bool
) -> list[str]:
    """The job that was missing is there; those that it waited for are returned."""
    job_id = record["job"]["id"]
    is_new = not _has(connection, tables.jobs, job_id)
    try:
        with connection.begin_nested() as savepoint:
            if is_new:
                connection.execute(insert(tables.jobs).values(**record["job"]))
                _add_rows(connection, record)
            datasets = _add_made(connection, tables.datasets, record["datasets"])
            models = [each for each in record["models"] if _is_whole(artifacts, each, report)]
            models = _add_made(connection, tables.models, models)
            _add_aliases(connection, record.get("model_aliases", []))
            if dry_run:
                savepoint.rollback()
    except (SQLAlchemyError, KeyError, TypeError, ValueError) as problem:
        reason = getattr(problem, "orig", None) or repr(problem)
        raise RecordInvalidError(f"job.json does not fit the database: {reason}") from problem
    report.jobs += [job_id] if is_new else []
    report.kept += not is_new
    report.datasets += datasets
    report.models += models
    return list(record["depends_on"]) if is_new else []


def _add_rows(connection: Connection, record: Record) -> None:
    for name, table in records.COMPACT.items():
        columns, rows = record[name]["columns"], record[name]["rows"]
        if rows:
            connection.execute(
                insert(table),
                [
                    {"job_id": record["job"]["id"], **dict(zip(columns, row, strict=True))}
                    for row in rows
                ],
            )


def _add_made(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> list[str]:
    """The ids of those that were missing and are there now."""
    missing = [row for row in rows if not _has(connection, table, row["id"])]
    for row in missing:
        connection.execute(insert(table).values(**row))
    return [row["id"] for row in missing]


def _add_aliases(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Aliases of models that are there, as far as they lead nowhere yet."""
    columns = tables.model_aliases.c
    for row in rows:
        same = (columns.owner == row["owner"], columns.alias == row["alias"])
        is_free = connection.scalar(select(columns.alias).where(*same)) is None
        if is_free and _has(connection, tables.models, row["model_id"]):
            connection.execute(insert(tables.model_aliases).values(**row))


def _has(connection: Connection, table: Table, identifier: str) -> bool:
    return connection.scalar(select(table.c.id).where(table.c.id == identifier)) is not None


def _is_whole(artifacts: Artifacts, model: Mapping[str, Any], report: Report) -> bool:
    file = artifacts.model_file(model["id"])
    reason = None
    size_bytes = artifacts.store.size_bytes(file)
    if model["path"] != artifacts.relative(file) or size_bytes is None:
        reason = "the model's file is missing"
    elif _sha256(artifacts, file, size_bytes) != model["digest"].removeprefix("sha256:"):
        reason = "the model's file does not have the SHA-256 that was recorded"
    if reason is not None:
        report.problems.append(f"models/{model['id']}: {reason}")
    return reason is None


def _sha256(artifacts: Artifacts, file: Path, size_bytes: int) -> str:
    digest = hashlib.sha256()
    for chunk in artifacts.store.chunks(file, 0, size_bytes):
        digest.update(chunk)
    return digest.hexdigest()


def _add_dependencies(
    connection: Connection, waits_for: Mapping[str, list[str]], report: Report, dry_run: bool
) -> None:
    for job_id, needed in waits_for.items():
        for each in needed:
            if each in report.jobs or _has(connection, tables.jobs, each):
                if not dry_run:
                    values = {"job_id": job_id, "on_job_id": each}
                    connection.execute(insert(tables.dependencies).values(**values))
            else:
                report.problems.append(f"jobs/{job_id}: it waited for {each}, which is not there")


def _unnamed(connection: Connection, artifacts: Artifacts, report: Report) -> Iterator[str]:
    """Files and folders that are of no model and no dataset, neither before nor now."""
    parts: tuple[tuple[Table, Collection[str], str, str], ...] = (
        (tables.datasets, report.datasets, "datasets/ds_", "dataset"),
        (tables.models, report.models, "models/mdl_", "model"),
    )
    named = " ".join(report.problems)
    for table, restored, beginning, kind in parts:
        folder, _, prefix = beginning.partition("/")
        for name in _named(artifacts, folder, prefix):
            identifier = name.partition(".")[0]
            is_there = identifier in restored or _has(connection, table, identifier)
            if not is_there and identifier not in named:
                yield f"{folder}/{name}: no job.json has this {kind}"
