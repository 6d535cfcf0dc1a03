"""The worker's side of a job: claim it, keep it, end it, lose it.

Every move carries the fence of its claim; once another attempt has claimed the job they raise
`LeaseLostError` and change nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from jobs import claims, curves, events, moves, store, tables, tracing
from jobs.back_off import BackOff
from jobs.database import Database, db_now_ms
from jobs.errors import LeaseLostError
from jobs.job import FINAL_STATES, LEASED_STATES, Failure, Job, JobState

Also = Callable[[Connection], None]
"""Further writes that must be part of the same transaction."""


def claim_next(
    database: Database, queue: str, worker_id: str, *, lease_ms: int, devices: int = 1
) -> Job | None:
    """The next job of the queue now belongs to this worker; None when nothing is claimable.

    Jobs that wait for another job are not claimable, nor are those for more devices than it owns.
    Order: highest priority, then the owner with the fewest running jobs, then the oldest.
    The curve is cut back to the job's checkpoint, from where the attempt goes on.
    """
    with database.write() as connection:
        now_ms = db_now_ms(connection)
        job = claims.next_claimable(connection, queue, now_ms, devices=devices)
        if job is None:
            return None
        curves.cut_back(connection, job.id, job.checkpoint_step)
        return moves.move(
            connection,
            job,
            JobState.PREPARING,
            now_ms=now_ms,
            values={
                "attempt": job.attempt + 1,
                "fence": job.fence + 1,
                "worker_id": worker_id,
                "lease_until_ms": now_ms + lease_ms,
                "started_ms": job.started_ms or now_ms,
                "phase": None,
            },
            event=("job.started", {"attempt": job.attempt + 1, "worker": worker_id}),
        )


def renew(database: Database, job_id: str, fence: int, *, lease_ms: int) -> Job:
    """The lease runs for another ``lease_ms``; the job tells what clients have asked for.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    with database.write() as connection:
        moves.held(connection, job_id, fence)
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job_id)
            .values(lease_until_ms=db_now_ms(connection) + lease_ms)
        )
        return store.fetch(connection, job_id)


def enter_phase(database: Database, job_id: str, fence: int, phase: str) -> None:
    """The job is running (or still ending) and in this phase.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    with database.write() as connection:
        job = moves.held(connection, job_id, fence)
        now_ms = db_now_ms(connection)
        if job.state == JobState.PREPARING:
            job = moves.move(
                connection, job, JobState.RUNNING, now_ms=now_ms, values={"phase": phase}
            )
        else:
            connection.execute(
                update(tables.jobs).where(tables.jobs.c.id == job_id).values(phase=phase)
            )
        events.append(
            connection,
            job_id,
            "job.phase_changed",
            {"phase": phase, "state": job.state.value},
            now_ms=now_ms,
        )
    tracing.enter_phase(phase)


def succeed(
    database: Database,
    job_id: str,
    fence: int,
    *,
    values: Mapping[str, Any],
    also: Also | None = None,
) -> JobState:
    """The job has succeeded, or is cancelled if a client asked for that first.

    Safe to repeat: a job that this attempt has already ended is left as it is.

    Raises:
        LeaseLostError: the job belongs to another attempt.
    """
    with database.write() as connection:
        job = _held_or_ended(connection, job_id, fence)
        if job.is_terminal:
            return job.state
        if job.state == JobState.CANCELLING:
            return moves.let_go(connection, job).state
        if also is not None:
            also(connection)
        return moves.end(connection, job, JobState.SUCCEEDED, values=values).state


def fail(database: Database, job_id: str, fence: int, failure: Failure) -> JobState:
    """The job has failed for good, or is cancelled if a client asked for that first.

    Raises:
        LeaseLostError: the job belongs to another attempt.
    """
    with database.write() as connection:
        job = _held_or_ended(connection, job_id, fence)
        if job.is_terminal:
            return job.state
        if job.state == JobState.CANCELLING:
            return moves.let_go(connection, job).state
        return moves.fail(connection, job, failure).state


def release(database: Database, job_id: str, fence: int) -> JobState:
    """The worker let go of the job: it is queued again, paused or cancelled.

    Draining is not the job's fault: the attempt is not counted.

    Raises:
        LeaseLostError: the job belongs to another attempt.
    """
    with database.write() as connection:
        job = _held_or_ended(connection, job_id, fence)
        if job.is_terminal:
            return job.state
        return moves.let_go(connection, job, is_counted=False).state


def record_loss(
    database: Database, job_id: str, fence: int, *, max_lost: int, reason: str
) -> JobState:
    """The attempt vanished without a word (its worker or host died): the job goes back.

    Raises:
        LeaseLostError: the job belongs to another attempt.
    """
    with database.write() as connection:
        job = _held_or_ended(connection, job_id, fence)
        return job.state if job.is_terminal else lose(connection, job, max_lost, reason).state


def record_crash(database: Database, job_id: str, fence: int, failure: Failure) -> JobState:
    """The trainer itself died: queued again, or failed when it died there before.

    A second death without a checkpoint beyond the first one's means that the job, not the
    machine, is at fault.

    Raises:
        LeaseLostError: the job belongs to another attempt.
    """
    with database.write() as connection:
        job = _held_or_ended(connection, job_id, fence)
        if job.is_terminal:
            return job.state
        columns = tables.jobs.c
        crashes, crash_step = connection.execute(
            select(columns.crashes, columns.crash_step).where(columns.id == job_id)
        ).one()
        again = crashes > 0 and crash_step == job.checkpoint_step
        if again and moves.GIVEN_UP[job.state] == JobState.QUEUED:
            return moves.fail(connection, job, failure, crashes=crashes + 1).state
        return moves.let_go(
            connection, job, crashes=crashes + 1, crash_step=job.checkpoint_step
        ).state


def put_off(
    database: Database, job_id: str, fence: int, failure: Failure, back_off: BackOff
) -> JobState:
    """The machine failed the attempt: queued for later, or failed when that was the last try.

    Attempts count together as long as the checkpoint does not move. The event tells the failure
    and in how many seconds the next attempt may begin. A job that a client wants paused or
    cancelled is that.

    Raises:
        LeaseLostError: the job belongs to another attempt.
    """
    with database.write() as connection:
        job = _held_or_ended(connection, job_id, fence)
        if job.is_terminal:
            return job.state
        if moves.GIVEN_UP[job.state] != JobState.QUEUED:
            return moves.let_go(connection, job).state
        setbacks = 1 + _setbacks(connection, job)
        if setbacks >= back_off.io_attempts:
            return moves.fail(connection, job, failure).state
        pause_ms = back_off.pause_ms(setbacks)
        told = {
            "code": failure.code,
            "message": failure.message,
            "attempts_left": back_off.io_attempts - setbacks,
            "retry_in_s": pause_ms / 1000,
        }
        not_before_ms = db_now_ms(connection) + pause_ms
        return moves.let_go(connection, job, told=told, not_before_ms=not_before_ms).state


def _setbacks(connection: Connection, job: Job) -> int:
    """How often the job has been put off since it wrote its checkpoint."""
    told = events.data_of(connection, job.id, "job.requeued")
    return sum(
        "retry_in_s" in each and each["checkpoint_step"] == job.checkpoint_step for each in told
    )


def _held_or_ended(connection: Connection, job_id: str, fence: int) -> Job:
    job = store.fetch(connection, job_id, lock=True)
    if job.fence != fence or job.state not in LEASED_STATES | FINAL_STATES:
        raise LeaseLostError(job_id, fence)
    return job


def lose(connection: Connection, job: Job, max_lost: int, reason: str) -> Job:
    """The held job goes back without its worker; too many losses end it."""
    if job.lost + 1 >= max_lost and moves.GIVEN_UP[job.state] == JobState.QUEUED:
        return moves.fail(
            connection,
            job,
            Failure(
                code="worker_lost",
                message=f"the job lost its worker {job.lost + 1} times; the last time {reason}",
                hint="look at the workers' logs and memory, then submit the job again",
                retryable=True,
            ),
            lost=job.lost + 1,
        )
    return moves.let_go(connection, job, lost=job.lost + 1)
