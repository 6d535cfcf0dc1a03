"""Rows that are worth nothing after a while: progress, side jobs, silent workers, deliveries.

Whatever is removed is asked again in the removing transaction whether it may go.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Delete,
    Text,
    and_,
    cast,
    delete,
    exists,
    func,
    select,
)

from jobs import idempotency, tables
from jobs.database import Database, db_now_ms
from jobs.job import FINAL_STATES, JobType
from jobs.removals import Kind, Removal

DAY_MS = 24 * 3600 * 1000
WORKER_SILENT_MS = DAY_MS
"""A worker not heard of for as long comes back, if at all, under another name."""

_ENDED = [state.value for state in FINAL_STATES]
_SIDE_TYPES = [
    kind.value for kind in (JobType.PROBE, JobType.EXPORT, JobType.MODEL_EXPORT, JobType.PREDICT)
]
_PROGRESS = "job.progress"
_ANSWERS = "idempotency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For how many milliseconds after the end of a job, or of a delivery, things stay."""

    progress_ms: int
    side_jobs_ms: int
    deliveries_ms: int


def find(database: Database, kept: Kept) -> list[Removal]:
    """The rows that can go now."""
    with database.read() as connection:
        now_ms = db_now_ms(connection)
        return [
            *_progress(connection, now_ms, kept),
            *_side_jobs(connection, now_ms, kept),
            *_answers(connection, now_ms),
            *_workers(connection, now_ms),
            *_deliveries(connection, now_ms, kept),
        ]


def remove(database: Database, kept: Kept, rows: Removal) -> bool:
    """Whether they are gone; what must not go (any more) stays."""
    with database.write() as connection:
        now_ms = db_now_ms(connection)
        if rows.kind == Kind.ANSWERS:
            return idempotency.forget_old(connection) > 0
        statement = {
            Kind.PROGRESS: _delete_progress,
            Kind.SIDE_JOB: _delete_side_job,
            Kind.WORKER: _delete_worker,
            Kind.DELIVERIES: _delete_deliveries,
        }[rows.kind](rows.name, now_ms, kept)
        return connection.execute(statement).rowcount > 0


def _progress(connection: Connection, now_ms: int, kept: Kept) -> Iterator[Removal]:
    columns, jobs = tables.events.c, tables.jobs.c
    query = (
        select(columns.job_id, jobs.finished_ms, func.count(), _length(columns.data))
        .join(tables.jobs, jobs.id == columns.job_id)
        .where(columns.type == _PROGRESS, _ended_before(now_ms - kept.progress_ms))
        .group_by(columns.job_id, jobs.finished_ms)
        .order_by(columns.job_id)
    )
    for job_id, finished_ms, count, length in connection.execute(query):
        why = f"{count} progress events; its job ended {_days(now_ms - finished_ms)} ago"
        yield Removal(kind=Kind.PROGRESS, name=job_id, size_bytes=int(length), why=why)


def _delete_progress(job_id: str, now_ms: int, kept: Kept) -> Delete:
    ended = _ended_before(now_ms - kept.progress_ms)
    return delete(tables.events).where(
        tables.events.c.job_id == job_id,
        tables.events.c.type == _PROGRESS,
        exists().where(tables.jobs.c.id == job_id, ended),
    )


def _side_jobs(connection: Connection, now_ms: int, kept: Kept) -> Iterator[Removal]:
    columns = tables.jobs.c
    query = (
        select(columns.id, columns.type, columns.finished_ms)
        .where(_is_old_side_job(now_ms - kept.side_jobs_ms))
        .order_by(columns.id)
    )
    for job_id, job_type, finished_ms in connection.execute(query):
        why = f"a job of the type {job_type} that ended {_days(now_ms - finished_ms)} ago"
        yield Removal(kind=Kind.SIDE_JOB, name=job_id, size_bytes=0, why=why)


def _delete_side_job(job_id: str, now_ms: int, kept: Kept) -> Delete:
    old = _is_old_side_job(now_ms - kept.side_jobs_ms)
    return delete(tables.jobs).where(tables.jobs.c.id == job_id, old)


def _is_old_side_job(before_ms: int) -> ColumnElement[bool]:
    """The condition, on rows of ``jobs``; a job that another one still waits for is in use."""
    edge, waiting = tables.dependencies, tables.jobs.alias("waiting")
    is_waited_for = (
        exists()
        .where(
            edge.c.on_job_id == tables.jobs.c.id,
            waiting.c.id == edge.c.job_id,
            waiting.c.state.not_in(_ENDED),
        )
        .correlate(tables.jobs)
    )
    return and_(tables.jobs.c.type.in_(_SIDE_TYPES), _ended_before(before_ms), ~is_waited_for)


def _answers(connection: Connection, now_ms: int) -> Iterator[Removal]:
    columns = tables.idempotency.c
    query = select(func.count(), _length(columns.body)).where(
        columns.created_ms < now_ms - idempotency.KEPT_MS
    )
    count, length = connection.execute(query).one()
    if count:
        why = f"{count} answers to requests with an Idempotency-Key of more than a day ago"
        yield Removal(kind=Kind.ANSWERS, name=_ANSWERS, size_bytes=int(length), why=why)


def _workers(connection: Connection, now_ms: int) -> Iterator[Removal]:
    columns = tables.workers.c
    query = select(columns.id, columns.seen_ms).where(columns.seen_ms < now_ms - WORKER_SILENT_MS)
    for worker_id, seen_ms in connection.execute(query.order_by(columns.id)):
        why = f"a worker last heard of {_days(now_ms - seen_ms)} ago"
        yield Removal(kind=Kind.WORKER, name=worker_id, size_bytes=0, why=why)


def _delete_worker(worker_id: str, now_ms: int, _: Kept) -> Delete:
    columns = tables.workers.c
    return delete(tables.workers).where(
        columns.id == worker_id, columns.seen_ms < now_ms - WORKER_SILENT_MS
    )


def _deliveries(connection: Connection, now_ms: int, kept: Kept) -> Iterator[Removal]:
    columns = tables.webhook_deliveries.c
    query = (
        select(columns.webhook_id, func.count(), _length(columns.payload))
        .where(columns.finished_ms < now_ms - kept.deliveries_ms)
        .group_by(columns.webhook_id)
        .order_by(columns.webhook_id)
    )
    for webhook_id, count, length in connection.execute(query):
        why = f"{count} deliveries that ended {_days(kept.deliveries_ms)} ago or earlier"
        yield Removal(kind=Kind.DELIVERIES, name=webhook_id, size_bytes=int(length), why=why)


def _delete_deliveries(webhook_id: str, now_ms: int, kept: Kept) -> Delete:
    columns = tables.webhook_deliveries.c
    return delete(tables.webhook_deliveries).where(
        columns.webhook_id == webhook_id, columns.finished_ms < now_ms - kept.deliveries_ms
    )


def _ended_before(before_ms: int) -> ColumnElement[bool]:
    columns = tables.jobs.c
    return and_(columns.state.in_(_ENDED), columns.finished_ms < before_ms)


def _length(column: Column[str]) -> ColumnElement[int]:
    return func.coalesce(func.sum(func.length(cast(column, Text))), 0)


def _days(span_ms: int) -> str:
    days = span_ms / DAY_MS
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
