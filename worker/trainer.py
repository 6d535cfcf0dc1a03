"""The subprocess that does one job: job id in, exit code out.

It writes what happens under its fence, and ends by itself when its worker is gone.
"""

import ctypes
import fcntl
import gc
import importlib
import os
import signal
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import structlog

from jobs import leases, spec_versions, store, tracing
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import LeaseLostError, StoreUnavailableError
from jobs.job import Job, JobState, JobType
from jobs.logs import configure_logging
from jobs.queue import Doorbell
from jobs.settings import Settings
from ml.errors import StoppedError
from worker.context import Context, Ending
from worker.control import EXIT_FENCED_OFF, EXIT_ORPHANED, EXIT_STORE_AWAY, Control
from worker.failures import JobFailedError, failure_of, is_of_the_machine
from worker.patience import until_answered
from worker.seat import Seat

RUNNERS = {
    JobType.DATASET_IMPORT: "worker.runners.dataset_import",
    JobType.LR_FIND: "worker.runners.lr_find",
    JobType.FINE_TUNE: "worker.runners.fine_tune",
    JobType.EVALUATION: "worker.runners.evaluation",
    JobType.PRESIZING_PREVIEW: "worker.runners.presizing_preview",
    JobType.EXPORT: "worker.runners.export",
    JobType.PROBE: "worker.runners.probe",
    JobType.MODEL_EXPORT: "worker.runners.model_export",
    JobType.PREDICT: "worker.runners.predict",
    JobType.PREDICTION: "worker.runners.prediction",
}
"""Modules by name: a worker that only imports datasets never loads a tensor library."""

_PR_SET_PDEATHSIG = 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a worker hands to the trainer that it starts."""

    settings: Settings
    job_id: str
    fence: int
    lease_until_s: float
    traces_endpoint: str | None = None
    seat: Seat = field(default_factory=Seat)


def stand_by(pipe: Connection, lifeline: Connection) -> None:
    """The process does the job that is assigned to it through the pipe, and ends.

    Nothing ever comes through the lifeline; its end of file is the death of the worker.
    """
    become_a_process_of_its_own()
    end_with(lifeline)
    # what came with the fork is no garbage, and to look through it would copy its pages
    gc.freeze()
    try:
        assignment: Assignment = pipe.recv()
    except EOFError:
        sys.exit(EXIT_ORPHANED)
    run_trainer(assignment, pipe)


def run_trainer(assignment: Assignment, pipe: Connection) -> None:
    """The job has been done, let go or failed; the process ends with 0 once that is written."""
    control = Control(pipe, assignment.lease_until_s, seat=assignment.seat)
    database = Database(assignment.settings.database_url)
    context = Context(
        settings=assignment.settings,
        database=database,
        artifacts=Artifacts.of(
            assignment.settings, patience_s=assignment.settings.artifact_patience_s
        ),
        doorbell=Doorbell(assignment.settings.redis_url),
        job=until_answered(lambda: store.get(database, assignment.job_id)),
        control=control,
        seat=assignment.seat,
    )
    configure_logging("console", context.settings.log_level)
    if assignment.seat.count > 1:
        structlog.contextvars.bind_contextvars(trainer=assignment.seat.number)
    tracing.begin("tunesmith-trainer", assignment.traces_endpoint)
    try:
        with _span_of(context.job):
            do(context)
        if not control.speaks:
            control.wait_for_the_end()
    except LeaseLostError as problem:
        log.warning("fenced_off", reason=str(problem))
        sys.exit(EXIT_FENCED_OFF)
    except StoreUnavailableError as problem:
        log.warning("database_away", reason=str(problem))
        sys.exit(EXIT_STORE_AWAY)
    finally:
        context.doorbell.happened(context.job.id)
        context.doorbell.close()
        database.close()
        tracing.end()
    if assignment.seat.count == 1 and not _holds_a_gpu():
        control.say_done()


def _holds_a_gpu() -> bool:
    """Whether other trainers have less of a GPU until this process is gone."""
    # a worker that only imports datasets never loads torch
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def _span_of(job: Job) -> AbstractContextManager[tracing.Span]:
    """The attempt is a part of the trace of the request that made the job."""
    return tracing.span(
        f"job {job.type.value}",
        parent=(job.cause or {}).get("traceparent"),
        kind="consumer",
        job__id=job.id,
        job__attempt=job.attempt,
        job__worker=job.worker_id or "",
    )


def do(context: Context) -> None:
    """The job has ended, or gone back where it is to go on; every failure is in its error.

    Of several trainers the first one writes that, or the one that broke the attempt off.

    Raises:
        LeaseLostError: it belongs to another attempt.
        StoreUnavailableError: the database is away.
    """
    job, database = context.job, context.database
    try:
        ending = _run(context)
    except (LeaseLostError, StoreUnavailableError):
        raise
    except StoppedError:
        if not context.control.speaks:
            return
        state = until_answered(lambda: leases.release(database, job.id, job.fence))
    except Exception as problem:  # the edge: every failure becomes job.error
        # by the log, which never fails: the disk may be full
        log.exception("job_broke_off", job=job.id)
        context.control.take_the_word()
        state = _break_off(context, problem)
    else:
        if not context.control.speaks:
            return
        _keep_log(context)
        state = until_answered(
            lambda: leases.succeed(
                database, job.id, job.fence, values=ending.values, also=ending.also
            )
        )
    log.info("job_ended", job=job.id, state=state.value)


def _break_off(context: Context, problem: Exception) -> JobState:
    job, database, failure = context.job, context.database, failure_of(problem)
    if is_of_the_machine(problem):
        return until_answered(
            lambda: leases.put_off(database, job.id, job.fence, failure, context.settings)
        )
    _keep_log(context)
    return until_answered(lambda: leases.fail(database, job.id, job.fence, failure))


def _keep_log(context: Context) -> None:
    """Whoever hears of the end can read what came of it; the last lines are kept by the worker."""
    file = context.artifacts.log_file(context.job.id, context.job.fence)
    try:
        context.artifacts.store.keep([file])
    except OSError as problem:
        log.warning("log_not_kept", job=context.job.id, reason=str(problem))


def _run(context: Context) -> Ending:
    _log_to_file(context)
    refusal = spec_versions.refusal(context.job.spec_version)
    if refusal is not None:
        raise JobFailedError(refusal.code, refusal.message, refusal.hint)
    runner = importlib.import_module(RUNNERS[context.job.type])
    log.info("job_started", job=context.job.id, type=context.job.type.value)
    ending: Ending = runner.run(context)
    return ending


def become_a_process_of_its_own() -> None:
    """No signal to the worker's group reaches this process; the worker's death ends it."""
    # a signal to the worker's process group must not reach the trainer: orders come by the pipe
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with(lifeline: Connection) -> None:
    """The process ends as soon as nobody holds the other end of the lifeline any more."""
    # the control thread sees it, too, but cannot run while another one, in a library's code, keeps
    # the interpreter's lock; this signal's default is to end the process
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)


def _log_to_file(context: Context) -> None:
    context.folder.mkdir(parents=True, exist_ok=True)
    file = context.artifacts.log_file(context.job.id, context.job.fence)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode=0o640)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.close(descriptor)
