"""Which job of a queue is next, found without looking at all that wait.

The index ``ix_jobs_claim`` holds them by queue, state, priority, owner and id: priorities and
owners are found by stepping from one to the next, and of each owner only the oldest claimable job
is looked at. So a claim takes as long among a hundred thousand jobs as among ten; it takes longer
the more owners have jobs of one priority, and the more jobs at the head of a line wait for others
or for a worker with more devices.
"""

import functools
from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from jobs import dependencies, store, tables
from jobs.database import Database, db_now_ms
from jobs.job import LEASED_STATES, QUEUE_OF, Job, JobState

_JOB = tables.jobs.c
_NO_PRIORITY = 10
"""Above the highest that a job may have."""


def next_claimable(connection: Connection, queue: str, now_ms: int, *, devices: int) -> Job | None:
    """The job that comes first, locked: highest priority, fairest owner, oldest.

    The fairest owner is the one with the fewest running jobs. Jobs that another transaction is
    claiming are passed over, and those that want more than so many ``devices``.
    """
    for priority in _priorities(connection, queue):
        line = {"queue": queue, "priority": priority, "now_ms": now_ms, "devices": devices}
        for owner, oldest in connection.execute(_owners(), line).all():
            if oldest is None:
                continue
            row = connection.execute(_oldest(), {**line, "owner": owner}).one_or_none()
            if row is not None:
                return store.as_job(row)
    return None


def claimable_queues(database: Database) -> list[str]:
    """Queues in which a job could be claimed now."""
    with database.read() as connection:
        now_ms = db_now_ms(connection)
        return [
            queue
            for queue in sorted(set(QUEUE_OF.values()))
            if connection.scalar(_any(), {"queue": queue, "now_ms": now_ms}) is not None
        ]


def _priorities(connection: Connection, queue: str) -> Iterator[int]:
    """The priorities of queued jobs, the highest first."""
    below = _NO_PRIORITY
    while True:
        found = connection.scalar(_highest(), {"queue": queue, "below": below})
        if found is None:
            return
        yield found
        below = found


# --- statements, made once: to name every column of a job takes longer than to find it ----------


@functools.cache
def _highest() -> Select[Any]:
    return select(func.max(_JOB.priority)).where(*_queued(), _JOB.priority < bindparam("below"))


@functools.cache
def _owners() -> Select[Any]:
    """Rows (owner, oldest claimable job or none) of one priority, the fairest owner first."""
    owners = select(func.min(_JOB.owner).label("owner")).where(*_in_line())
    stepped = owners.cte("owners", recursive=True)
    step = select(func.min(_JOB.owner)).where(*_in_line(), _JOB.owner > stepped.c.owner)
    stepped = stepped.union_all(select(step.scalar_subquery()).where(stepped.c.owner.is_not(None)))
    oldest = (
        select(_JOB.id)
        .where(*_in_line(), _JOB.owner == stepped.c.owner, *_is_ready(), _fits())
        .order_by(_JOB.id)
        .limit(1)
        .scalar_subquery()
        .label("oldest")
    )
    held = (
        select(_JOB.owner, func.count().label("jobs"))
        .where(_JOB.state.in_([state.value for state in LEASED_STATES]))
        .group_by(_JOB.owner)
        .subquery("held")
    )
    return (
        select(stepped.c.owner, oldest)
        .outerjoin_from(stepped, held, held.c.owner == stepped.c.owner)
        .where(stepped.c.owner.is_not(None))
        .order_by(func.coalesce(held.c.jobs, 0), oldest)
    )


@functools.cache
def _oldest() -> Select[Any]:
    return (
        select(tables.jobs)
        .where(*_in_line(), _JOB.owner == bindparam("owner"), *_is_ready(), _fits())
        .order_by(_JOB.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


@functools.cache
def _any() -> Select[Any]:
    return select(_JOB.id).where(*_queued(), *_is_ready()).limit(1)


def _queued() -> list[ColumnElement[bool]]:
    return [_JOB.queue == bindparam("queue"), _JOB.state == JobState.QUEUED.value]


def _in_line() -> list[ColumnElement[bool]]:
    return [*_queued(), _JOB.priority == bindparam("priority")]


def _is_ready() -> list[ColumnElement[bool]]:
    """What a queued job must meet to be claimable."""
    return [_JOB.not_before_ms <= bindparam("now_ms"), dependencies.are_met()]


def _fits() -> ColumnElement[bool]:
    """The worker owns as many devices as the job is to share."""
    return func.coalesce(_JOB.spec["devices"].as_integer(), 1) <= bindparam("devices")
