"""The one way to change a job's state: a compare-and-set with its event in one transaction.

`leases` holds the worker's moves, `verbs` the client's; both end here.
"""

from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy import Connection, update

from jobs import datasets, dependencies, events, store, tables
from jobs.database import after_commit, db_now_ms
from jobs.errors import InvalidTransitionError, LeaseLostError
from jobs.job import LEASED_STATES, NEXT_STATES, Failure, Job, JobState, JobType, allowed_actions

log = structlog.get_logger(__name__)

GIVEN_UP: Mapping[JobState, JobState] = {
    JobState.CANCELLING: JobState.CANCELLED,
    JobState.PAUSING: JobState.PAUSED,
    JobState.PREPARING: JobState.QUEUED,
    JobState.RUNNING: JobState.QUEUED,
}
"""Where a held job goes when its worker lets go of it, willingly or not."""


def move(
    connection: Connection,
    job: Job,
    target: JobState,
    *,
    now_ms: int,
    values: Mapping[str, Any] | None = None,
    event: tuple[str, Mapping[str, Any]] | None = None,
) -> Job:
    """The job is in the target state, its event written; other columns take ``values``.

    Raises:
        InvalidTransitionError: `NEXT_STATES` does not allow the move.
        LeaseLostError: somebody else has moved the job since it was read.
    """
    if target not in NEXT_STATES[job.state]:
        raise InvalidTransitionError(
            job.id, f"become {target}", job.state, allowed_actions(job.type, job.state)
        )
    columns = tables.jobs.c
    changed = connection.execute(
        update(tables.jobs)
        .where(columns.id == job.id, columns.state == job.state.value, columns.fence == job.fence)
        .values(state=target.value, **(values or {}))
    )
    if changed.rowcount != 1:
        raise LeaseLostError(job.id, job.fence)
    if event is not None:
        events.append(connection, job.id, event[0], event[1], now_ms=now_ms)
    moved = store.fetch(connection, job.id)
    after_commit(connection, lambda: _log_move(job.state, moved))
    return moved


def _log_move(was: JobState, job: Job) -> None:
    log.info(
        "job_moved",
        job=job.id,
        type=job.type.value,
        was=was.value,
        state=job.state.value,
        attempt=job.attempt,
        worker=job.worker_id,
        error=(job.error or {}).get("code"),
        caused_by=(job.cause or {}).get("request_id"),
    )


def held(connection: Connection, job_id: str, fence: int) -> Job:
    """The job, locked, if the attempt with this fence still holds it.

    Raises:
        LeaseLostError: it does not.
    """
    job = store.fetch(connection, job_id, lock=True)
    if job.fence != fence or job.state not in LEASED_STATES:
        raise LeaseLostError(job_id, fence)
    return job


def let_go(
    connection: Connection,
    job: Job,
    *,
    is_counted: bool = True,
    told: Mapping[str, Any] | None = None,
    **values: Any,  # noqa: ANN401 - columns
) -> Job:
    """The held job has no worker: queued or paused without a phase, or cancelled (`GIVEN_UP`).

    An attempt that is not counted was given back in order. What is ``told`` stands in the event
    beside that and the checkpoint's step.
    """
    target = GIVEN_UP[job.state]
    if target == JobState.CANCELLED:
        return end(connection, job, target, values={})
    name = "job.paused" if target == JobState.PAUSED else "job.requeued"
    return move(
        connection,
        job,
        target,
        now_ms=db_now_ms(connection),
        values={
            "worker_id": None,
            "lease_until_ms": None,
            "phase": None,
            "attempt": job.attempt if is_counted else job.attempt - 1,
            **values,
        },
        event=(
            name,
            {"checkpoint_step": job.checkpoint_step, "is_counted": is_counted, **(told or {})},
        ),
    )


def fail(connection: Connection, job: Job, failure: Failure, **values: Any) -> Job:  # noqa: ANN401 - columns
    """The job has failed for good; a client reads the failure and the phase as ``job.error``."""
    return end(connection, job, JobState.FAILED, values={"error": _error(job, failure), **values})


def end(connection: Connection, job: Job, target: JobState, *, values: Mapping[str, Any]) -> Job:
    """The job is in a final state; unless it succeeded, its dataset and dependents go along."""
    ended = _end_alone(connection, job, target, values)
    if target != JobState.SUCCEEDED:
        _fail_those_behind(connection, job.id)
    return ended


def _end_alone(
    connection: Connection, job: Job, target: JobState, values: Mapping[str, Any]
) -> Job:
    now_ms = db_now_ms(connection)
    if job.type == JobType.DATASET_IMPORT and target != JobState.SUCCEEDED:
        datasets.mark_failed(
            connection, job, values.get("error") or _cancelled_import(), now_ms=now_ms
        )
    return move(
        connection,
        job,
        target,
        now_ms=now_ms,
        values={
            **values,
            "finished_ms": now_ms,
            "record_wanted": tables.jobs.c.record_wanted + 1,
            "worker_id": None,
            "lease_until_ms": None,
        },
        event=(f"job.{target.value}", _final_event(values)),
    )


def _fail_those_behind(connection: Connection, job_id: str) -> None:
    dependencies.lock(connection, dependencies.all_behind(connection, [job_id]))
    ended = [job_id]
    for each in ended:
        for dependent_id in dependencies.right_behind(connection, each):
            dependent = store.fetch(connection, dependent_id, lock=True)
            if not dependent.is_terminal:
                fail_if_in_vain(connection, dependent)
                ended.append(dependent_id)


def fail_if_in_vain(connection: Connection, job: Job) -> Job:
    """The job; failed, without those behind it, if one that it waits for ended without success."""
    culprit_id = dependencies.broken(connection, job.id)
    if culprit_id is None:
        return job
    culprit = store.fetch(connection, culprit_id)
    failure = Failure(
        code="dependency_failed",
        message=f"this job needs job {culprit.id} ({culprit.type.value}), which "
        f"{'failed' if culprit.state == JobState.FAILED else 'was cancelled'}",
        hint="see the cause; submit both again once it is mended",
        cause=_root_cause(culprit),
    )
    return _end_alone(connection, job, JobState.FAILED, {"error": _error(job, failure)})


def _error(job: Job, failure: Failure) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": failure.code,
        "message": failure.message,
        "hint": failure.hint,
        "phase": job.phase,
        "retryable": failure.retryable,
    }
    return error if failure.cause is None else {**error, "cause": dict(failure.cause)}


def _root_cause(culprit: Job) -> Mapping[str, str]:
    error = culprit.error or {"code": "cancelled", "message": "the job was cancelled"}
    own = {"job_id": culprit.id, "code": error["code"], "message": error["message"]}
    return error.get("cause") or own


def _final_event(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: values[key] for key in ("error", "model_id", "stop_reason") if values.get(key)}


def _cancelled_import() -> dict[str, Any]:
    return {
        "code": "cancelled",
        "message": "the import was cancelled",
        "hint": "register the dataset again",
        "phase": None,
        "retryable": True,
    }
