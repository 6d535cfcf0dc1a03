"""Which jobs wait for which: a job is claimable once all that it depends on have succeeded."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, exists, insert, select

from jobs import tables
from jobs.database import Database
from jobs.job import FINAL_STATES, JobState

_UNFINISHED = [state.value for state in JobState if state not in FINAL_STATES]


def add(connection: Connection, job_id: str, on_job_ids: Iterable[str]) -> None:
    """The job waits for these jobs."""
    rows = [{"job_id": job_id, "on_job_id": each} for each in dict.fromkeys(on_job_ids)]
    if rows:
        connection.execute(insert(tables.dependencies), rows)


@functools.cache
def are_met() -> ColumnElement[bool]:
    """The condition, on rows of ``jobs``, that nothing is left to wait for."""
    # made once: to name every column of an alias takes longer than the query does
    edge, needed = tables.dependencies.alias("edge"), tables.jobs.alias("needed")
    return ~(
        exists()
        .where(
            edge.c.job_id == tables.jobs.c.id,
            needed.c.id == edge.c.on_job_id,
            needed.c.state != JobState.SUCCEEDED.value,
        )
        .correlate(tables.jobs)
    )


def of_jobs(connection: Connection, job_ids: Sequence[str]) -> Mapping[str, list[str]]:
    """Job id -> the jobs that it depends on, oldest first; empty for most."""
    columns = tables.dependencies.c
    query = (
        select(columns.job_id, columns.on_job_id)
        .where(columns.job_id.in_(job_ids))
        .order_by(columns.on_job_id)
    )
    found: dict[str, list[str]] = defaultdict(list)
    for job_id, on_job_id in connection.execute(query):
        found[job_id].append(on_job_id)
    return found


def waiting(connection: Connection, job_ids: Sequence[str]) -> frozenset[str]:
    """Those of the jobs for which something that they depend on has not succeeded."""
    if not job_ids:
        return frozenset()
    query = select(tables.jobs.c.id).where(tables.jobs.c.id.in_(job_ids), ~are_met())
    return frozenset(connection.scalars(query))


def queues_behind(database: Database, job_id: str) -> list[str]:
    """Queues in which a job depends on this one and is claimable now."""
    query = (
        select(tables.jobs.c.queue)
        .join(tables.dependencies, tables.dependencies.c.job_id == tables.jobs.c.id)
        .where(
            tables.dependencies.c.on_job_id == job_id,
            tables.jobs.c.state == JobState.QUEUED.value,
            are_met(),
        )
        .distinct()
    )
    with database.read() as connection:
        return sorted(connection.scalars(query))


def right_behind(connection: Connection, job_id: str) -> list[str]:
    """The jobs that depend on this one, oldest first."""
    columns = tables.dependencies.c
    query = select(columns.job_id).where(columns.on_job_id == job_id).order_by(columns.job_id)
    return list(connection.scalars(query))


def all_behind(connection: Connection, job_ids: Sequence[str]) -> list[str]:
    """The jobs that depend on one of these, directly or through others."""
    edge = tables.dependencies.c
    behind = select(edge.job_id).where(edge.on_job_id.in_(job_ids)).cte("behind", recursive=True)
    further = select(edge.job_id).join(behind, edge.on_job_id == behind.c.job_id)
    return list(connection.scalars(select(behind.union(further).c.job_id)))


def broken(connection: Connection, job_id: str) -> str | None:
    """A job that this one depends on and that has ended without success, if there is one."""
    needed = tables.jobs.c
    query = (
        select(needed.id)
        .join(tables.dependencies, tables.dependencies.c.on_job_id == needed.id)
        .where(
            tables.dependencies.c.job_id == job_id,
            needed.state.in_([JobState.FAILED.value, JobState.CANCELLED.value]),
        )
        .order_by(needed.id)
        .limit(1)
    )
    return connection.scalars(query).one_or_none()


def unfinished_children(connection: Connection, job_id: str) -> list[str]:
    """Jobs that were made for this one and have not ended, oldest first."""
    columns = tables.jobs.c
    query = (
        select(columns.id)
        .where(columns.parent_id == job_id, columns.state.in_(_UNFINISHED))
        .order_by(columns.id)
    )
    return list(connection.scalars(query))


def lock(connection: Connection, job_ids: Iterable[str]) -> list[str]:
    """Those of the jobs that exist, locked until the transaction's end.

    In the order of their ids, in which a job always comes before its dependents: every
    transaction locks in that order, so they never wait in a circle.
    """
    query = (
        select(tables.jobs.c.id)
        .where(tables.jobs.c.id.in_(list(job_ids)))
        .order_by(tables.jobs.c.id)
        .with_for_update()
    )
    return list(connection.scalars(query))
