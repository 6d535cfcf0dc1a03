"""The client's side of a job: cancel, stop, pause, resume. Each is safe to repeat.

A retry is no move of a job but another job: see `retries`.
"""

from sqlalchemy import Connection, update

from jobs import dependencies, events, moves, store, tables
from jobs.database import Database, db_now_ms
from jobs.errors import InvalidTransitionError
from jobs.job import RESUMABLE, Job, JobState, allowed_actions

_ON_ITS_WAY = frozenset({JobState.QUEUED, JobState.PREPARING, JobState.RUNNING})


def cancel(database: Database, job_id: str) -> Job:
    """A waiting job is cancelled, a running one will be; cancelling twice changes nothing.

    Jobs that were made for this one are cancelled with it.

    Raises:
        NotFoundError: no job has this id.
        InvalidTransitionError: the job has succeeded or failed.
    """
    with database.write() as connection:
        ending = [*dependencies.unfinished_children(connection, job_id), job_id]
        locked = dependencies.lock(
            connection, [*ending, *dependencies.all_behind(connection, ending)]
        )
        cancelled = _cancel(connection, store.fetch(connection, job_id, lock=True))
        for child_id in set(ending[:-1]).intersection(locked):
            child = store.fetch(connection, child_id)
            if not child.is_terminal:
                _cancel(connection, child)
        return cancelled


def _cancel(connection: Connection, job: Job) -> Job:
    if job.state in {JobState.CANCELLED, JobState.CANCELLING}:
        return job
    _refuse_unless_allowed(job, "cancel")
    if job.state in {JobState.QUEUED, JobState.PAUSED}:
        return moves.end(connection, job, JobState.CANCELLED, values={})
    return moves.move(
        connection,
        job,
        JobState.CANCELLING,
        now_ms=db_now_ms(connection),
        event=("job.cancelling", {}),
    )


def stop(database: Database, job_id: str) -> Job:
    """The running job will end after its current step and keep what it has learned.

    Stopping it again changes nothing, nor after it has succeeded.

    Raises:
        NotFoundError: no job has this id.
        InvalidTransitionError: the job is not running, or cannot be stopped half-way.
    """
    with database.write() as connection:
        job = store.fetch(connection, job_id, lock=True)
        if job.stop_requested and job.state not in {JobState.FAILED, JobState.CANCELLED}:
            return job
        _refuse_unless_allowed(job, "stop")
        connection.execute(
            update(tables.jobs).where(tables.jobs.c.id == job_id).values(stop_requested=True)
        )
        events.append(connection, job_id, "job.stop_requested", {}, now_ms=db_now_ms(connection))
        return store.fetch(connection, job_id)


def pause(database: Database, job_id: str) -> Job:
    """A queued job is paused, a running one will be, after a checkpoint.

    Raises:
        NotFoundError: no job has this id.
        InvalidTransitionError: the job is finished, cancelling, or cannot be resumed later.
    """
    with database.write() as connection:
        job = store.fetch(connection, job_id, lock=True)
        if job.state in {JobState.PAUSED, JobState.PAUSING}:
            return job
        _refuse_unless_allowed(job, "pause")
        target = JobState.PAUSED if job.state == JobState.QUEUED else JobState.PAUSING
        return moves.move(
            connection,
            job,
            target,
            now_ms=db_now_ms(connection),
            event=(f"job.{target.value}", {}),
        )


def resume(database: Database, job_id: str) -> Job:
    """The paused job is queued again; resuming one that waits or runs changes nothing.

    Raises:
        NotFoundError: no job has this id.
        InvalidTransitionError: the job is finished or on its way to an end, or cannot be paused.
    """
    with database.write() as connection:
        job = store.fetch(connection, job_id, lock=True)
        if job.type in RESUMABLE and job.state in _ON_ITS_WAY:
            return job
        _refuse_unless_allowed(job, "resume")
        return moves.move(
            connection,
            job,
            JobState.QUEUED,
            now_ms=db_now_ms(connection),
            values={"not_before_ms": 0},
            event=("job.resumed", {}),
        )


def _refuse_unless_allowed(job: Job, action: str) -> None:
    allowed = allowed_actions(job.type, job.state)
    if action not in allowed:
        raise InvalidTransitionError(job.id, action, job.state, allowed)
