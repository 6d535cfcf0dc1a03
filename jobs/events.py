"""A job's history: events numbered without gaps by a counter in the job's own row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from jobs import outbox, tables
from jobs.database import Database

FINAL_EVENT_TYPES = frozenset({"job.succeeded", "job.failed", "job.cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to a job; ``seq`` counts from 1 within the job."""

    job_id: str
    seq: int
    type: str
    data: Mapping[str, Any]
    at_ms: int

    @property
    def is_final(self) -> bool:
        """Whether no event of this job can follow."""
        return self.type in FINAL_EVENT_TYPES


def append(
    connection: Connection, job_id: str, kind: str, data: Mapping[str, Any], *, now_ms: int
) -> int:
    """The event, and what webhooks are told of it, are part of the transaction.

    Its sequence number is returned.

    The counter's update locks the job's row, so two writers cannot take one number.
    """
    connection.execute(
        update(tables.jobs)
        .where(tables.jobs.c.id == job_id)
        .values(event_seq=tables.jobs.c.event_seq + 1)
    )
    seq: int = connection.execute(
        select(tables.jobs.c.event_seq).where(tables.jobs.c.id == job_id)
    ).scalar_one()
    connection.execute(
        insert(tables.events).values(
            job_id=job_id, seq=seq, type=kind, data=dict(data), at_ms=now_ms
        )
    )
    outbox.write(connection, job_id, kind, seq=seq, now_ms=now_ms)
    return seq


def read_after(database: Database, job_id: str, seq: int, *, limit: int = 200) -> list[Event]:
    """Events of the job with a greater sequence number, oldest first."""
    query = (
        select(tables.events)
        .where(tables.events.c.job_id == job_id, tables.events.c.seq > seq)
        .order_by(tables.events.c.seq)
        .limit(limit)
    )
    with database.read() as connection:
        return [_event(row) for row in connection.execute(query)]


def data_of(connection: Connection, job_id: str, kind: str) -> list[Mapping[str, Any]]:
    """What the job's events of one type tell, oldest first."""
    columns = tables.events.c
    query = (
        select(columns.data)
        .where(columns.job_id == job_id, columns.type == kind)
        .order_by(columns.seq)
    )
    return list(connection.scalars(query))


def _event(row: Row[Any]) -> Event:
    return Event(job_id=row.job_id, seq=row.seq, type=row.type, data=row.data, at_ms=row.at_ms)
