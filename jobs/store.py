"""Jobs in the database: submit, read, list, rename, delete. Moves are in `moves`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from jobs import cause, dependencies, events, records, spec_versions, tables
from jobs.database import Database, db_now_ms
from jobs.errors import InvalidTransitionError, NotFoundError
from jobs.ids import JobId, new_job_id
from jobs.job import FINAL_STATES, QUEUE_OF, Job, JobState, JobType, allowed_actions
from jobs.spec import SPEC_VERSION, JobSpec

LOCAL_OWNER = "local"

_JOB_FIELDS = tuple(field.name for field in fields(Job))
_EACH = tables.jobs.alias("each")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A new job among others: its own id, the job it is made for or after, those it waits for."""

    job_id: JobId = field(default_factory=new_job_id)
    parent_id: str | None = None
    depends_on: Sequence[str] = ()
    retry_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows; None means any."""

    type: JobType | None = None
    state: JobState | None = None
    dataset_id: str | None = None
    retry_of: str | None = None
    created_after_ms: int | None = None
    metadata: Mapping[str, str] | None = None
    owner: str | None = None


def submit(
    connection: Connection,
    job_type: JobType,
    spec: JobSpec,
    *,
    dataset_id: str | None,
    chain: Chain | None = None,
    owner: str = LOCAL_OWNER,
) -> Job:
    """The job is queued and its first event written, as part of the transaction."""
    now_ms = db_now_ms(connection)
    chain = chain or Chain()
    identifier = chain.job_id
    connection.execute(
        insert(tables.jobs).values(
            **_fresh_values(job_type, spec),
            id=identifier,
            dataset_id=dataset_id,
            parent_id=chain.parent_id,
            retry_of=chain.retry_of,
            owner=owner,
            cause=cause.of_now(),
            created_ms=now_ms,
        )
    )
    dependencies.add(connection, identifier, chain.depends_on)
    events.append(
        connection,
        identifier,
        "job.queued",
        {"type": job_type.value, "queue": QUEUE_OF[job_type]},
        now_ms=now_ms,
    )
    return fetch(connection, identifier)


def _fresh_values(job_type: JobType, spec: JobSpec) -> dict[str, Any]:
    return {
        "type": job_type.value,
        "queue": QUEUE_OF[job_type],
        "state": JobState.QUEUED.value,
        "name": spec.name,
        "priority": spec.priority,
        "spec_version": SPEC_VERSION,
        "spec": spec.model_dump(mode="json"),
        "metadata": dict(spec.metadata),
        "resolved": {},
        "latest": {},
        "best": {},
        "result": {},
        "attempt": 0,
        "fence": 0,
        "lost": 0,
        "crashes": 0,
        "not_before_ms": 0,
        "stop_requested": False,
        "checkpoint_step": 0,
        "event_seq": 0,
        "version": 1,
    }


def fetch(connection: Connection, job_id: str, *, lock: bool = False) -> Job:
    """The job as this transaction sees it; ``lock`` keeps other writers away until its end.

    Raises:
        NotFoundError: no job has this id.
    """
    query = select(tables.jobs).where(tables.jobs.c.id == job_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFoundError("job", job_id)
    return as_job(row)


def get(database: Database, job_id: str) -> Job:
    """The job as it stands now.

    Raises:
        NotFoundError: no job has this id.
    """
    with database.read() as connection:
        return fetch(connection, job_id)


def made_for(database: Database, parent_id: str, job_type: JobType) -> Job | None:
    """The job of this type that was queued for another one, if there is one."""
    columns = tables.jobs.c
    query = select(tables.jobs).where(
        columns.parent_id == parent_id, columns.type == job_type.value
    )
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
        return None if row is None else as_job(row)


def list_jobs(
    database: Database, chosen: JobFilter, *, after: str | None, limit: int, ascending: bool = False
) -> list[Job]:
    """At most ``limit`` jobs, newest first unless ``ascending``, beginning behind ``after``."""
    column = tables.jobs.c.id
    query = _filtered(chosen).order_by(column.asc() if ascending else column.desc()).limit(limit)
    if after is not None:
        query = query.where(column > after if ascending else column < after)
    with database.read() as connection:
        for key, value in (chosen.metadata or {}).items():
            query = query.where(_has(key, value, connection.dialect.name))
        return [as_job(row) for row in connection.execute(query)]


def _has(key: str, value: str, dialect: str) -> ColumnElement[bool]:
    # a JSON path cannot name every key: SQLite finds neither quotes nor letters beyond ASCII
    each = func.json_each if dialect == "sqlite" else func.json_each_text
    pairs = each(tables.jobs.c.metadata).table_valued("key", "value").alias("pairs")
    return exists().where(pairs.c.key == key, pairs.c.value == value).correlate(tables.jobs)


def _filtered(chosen: JobFilter) -> Select[Any]:
    columns = tables.jobs.c
    query = select(tables.jobs)
    if chosen.type is not None:
        query = query.where(columns.type == chosen.type.value)
    if chosen.state is not None:
        query = query.where(columns.state == chosen.state.value)
    if chosen.dataset_id is not None:
        query = query.where(columns.dataset_id == chosen.dataset_id)
    if chosen.retry_of is not None:
        query = query.where(columns.retry_of == chosen.retry_of)
    if chosen.owner is not None:
        query = query.where(columns.owner == chosen.owner)
    if chosen.created_after_ms is not None:
        query = query.where(columns.created_ms > chosen.created_after_ms)
    return query


def queue_positions(connection: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    """Id of a queued job -> its place among those of its queue; 1 is claimed next.

    Jobs that wait for another one do not count; such a job itself has the place that it would
    have now.
    """
    if not job_ids:
        return {}
    columns, each = tables.jobs.c, _EACH.c
    comes_first = and_(
        columns.queue == each.queue,
        columns.state == JobState.QUEUED.value,
        dependencies.are_met(),
        or_(
            columns.priority > each.priority,
            and_(columns.priority == each.priority, columns.id < each.id),
        ),
    )
    query = (
        select(each.id, func.count(columns.id) + 1)
        .select_from(_EACH.outerjoin(tables.jobs, comes_first))
        .where(each.id.in_(job_ids), each.state == JobState.QUEUED.value)
        .group_by(each.id)
    )
    return {job_id: place for job_id, place in connection.execute(query)}


def queue_counts(database: Database) -> dict[str, dict[str, int]]:
    """Queue name -> state -> number of jobs that are not finished."""
    columns = tables.jobs.c
    query = (
        select(columns.queue, columns.state, func.count())
        .where(columns.state.not_in([state.value for state in FINAL_STATES]))
        .group_by(columns.queue, columns.state)
    )
    counts: dict[str, dict[str, int]] = {queue: {} for queue in sorted(set(QUEUE_OF.values()))}
    with database.read() as connection:
        for queue, state, number in connection.execute(query):
            counts[queue][state] = number
    return counts


def edit(
    database: Database,
    job_id: str,
    changes: Mapping[str, Any],
    *,
    expected_version: int | None = None,
) -> Job | None:
    """The job with its name, metadata or priority changed; None when its version was another.

    Jobs that were made for it have the new priority, too, unless they have ended.

    Raises:
        NotFoundError: no job has this id.
    """
    with database.write() as connection:
        children = dependencies.unfinished_children(connection, job_id)
        dependencies.lock(connection, [*children, job_id])
        job = fetch(connection, job_id)
        if expected_version is not None and job.version != expected_version:
            return None
        _change(connection, [job_id], changes)
        if "priority" in changes:
            _change(connection, children, {"priority": changes["priority"]})
        return fetch(connection, job_id)


def _change(connection: Connection, job_ids: Sequence[str], changes: Mapping[str, Any]) -> None:
    connection.execute(
        update(tables.jobs)
        .where(tables.jobs.c.id.in_(job_ids))
        .values(**changes, version=tables.jobs.c.version + 1)
    )
    records.outdate(connection, job_ids)


def delete_job(database: Database, job_id: str) -> Job:
    """The finished job, its events and its curve are gone from the database.

    Raises:
        NotFoundError: no job has this id.
        InvalidTransitionError: the job is not finished.
    """
    with database.write() as connection:
        job = fetch(connection, job_id, lock=True)
        if not job.is_terminal:
            raise InvalidTransitionError(
                job_id, "be deleted", job.state, allowed_actions(job.type, job.state)
            )
        connection.execute(delete(tables.jobs).where(tables.jobs.c.id == job_id))
        return job


def as_job(row: Row[Any]) -> Job:
    """The row of table ``jobs`` as a `Job`."""
    values = {name: getattr(row, name) for name in _JOB_FIELDS}
    values["type"] = JobType(values["type"])
    values["state"] = JobState(values["state"])
    values["spec"] = spec_versions.upgraded(values["type"], values["spec"], values["spec_version"])
    return Job(**values)
