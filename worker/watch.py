"""Watches one attempt: renews its lease, hands on what clients want, reads the exit code.

Renewal never waits for the training loop, and the training loop never outlives its worker.
"""

import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from jobs import leases, metrics, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import LeaseLostError, NotFoundError, StoreUnavailableError
from jobs.job import LEASED_STATES, Failure, Job, JobState
from jobs.queue import Doorbell
from jobs.settings import Settings, traces_endpoint
from worker import checkpoints
from worker.control import (
    EXIT_FENCED_OFF,
    EXIT_LEASE_OVER,
    EXIT_ORPHANED,
    EXIT_STORE_AWAY,
    Order,
)
from worker.group import Group
from worker.patience import until_answered
from worker.standby import Standby
from worker.trainer import Assignment

_LOOK_S = 0.25
_LAST_LINES = 20
_QUIET_EXITS = frozenset({EXIT_ORPHANED, EXIT_LEASE_OVER, EXIT_FENCED_OFF, EXIT_STORE_AWAY})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What all watches of one worker share."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    doorbell: Doorbell
    draining: threading.Event
    standby: Standby


class Watch:
    """One attempt at one job, from the fork to the exit code."""

    def __init__(self, parts: "Parts", job: Job) -> None:
        self._parts = parts
        self._settings = parts.settings
        self._database = parts.database
        self._job = job
        self._order = Order.CONTINUE
        self._ordered_at_s: float | None = None
        self._renewed_at_s = time.monotonic()
        self._killed = False
        self._is_stuck = False
        self._group = self._start()

    def until_the_end(self) -> None:
        """The trainer has ended, and the job is where its end says."""
        try:
            while not self._group.ended(within_s=_LOOK_S):
                self._look()
            exit_code = self._group.exit_code
            metrics.TRAINER_EXITS.labels(_outcome(exit_code)).inc()
            self._settle(exit_code)
            self._tidy()
        finally:
            self._group.close()
            self._parts.doorbell.happened(self._job.id)

    def _start(self) -> Group:
        assignment = Assignment(
            settings=self._settings,
            job_id=self._job.id,
            fence=self._job.fence,
            lease_until_s=self._lease_until_s(),
            traces_endpoint=traces_endpoint(),
        )
        return Group(
            self._parts.standby,
            assignment,
            count=self._job.devices,
            asked_at_s=self._renewed_at_s,
        )

    def _look(self) -> None:
        now_s = time.monotonic()
        try:
            job = self._job_now(now_s)
        except StoreUnavailableError as problem:
            log.warning("database_away", error=str(problem))
            return
        except NotFoundError:
            # it had ended, and a client deleted it before its trainer could leave
            self._give(Order.ABANDON)
        else:
            self._follow(job)
        if self._is_overdue(now_s):
            self._give_up(f"it did not end within {self._settings.cancel_grace_s:g} s")
        elif now_s - self._group.asked_at_s > self._settings.stall_s:
            self._is_stuck = True
            self._kill(f"it did not go on for {self._settings.stall_s:g} s")

    def _follow(self, job: Job) -> None:
        if job.fence != self._job.fence:
            self._give_up("the job belongs to another attempt")
        elif job.state in LEASED_STATES:
            self._give(self._wanted(job))
        else:
            # ended by the trainer, which has only to leave, or by a sweeper that gave us up
            self._give(Order.ABANDON)

    def _job_now(self, now_s: float) -> Job:
        if now_s - self._renewed_at_s < self._settings.renew_s:
            return store.get(self._database, self._job.id)
        try:
            return self._renew(now_s)
        except LeaseLostError:
            return store.get(self._database, self._job.id)

    def _renew(self, now_s: float) -> Job:
        lease_ms = int(self._settings.lease_s * 1000)
        job = leases.renew(self._database, self._job.id, self._job.fence, lease_ms=lease_ms)
        self._renewed_at_s = now_s
        self._group.send(self._order, self._lease_until_s())
        return job

    def _wanted(self, job: Job) -> Order:
        if job.state == JobState.CANCELLING:
            return Order.ABANDON
        if job.state == JobState.PAUSING or self._parts.draining.is_set():
            return Order.LEAVE
        return Order.FINISH if job.stop_requested else Order.CONTINUE

    def _give(self, order: Order) -> None:
        if order == self._order:
            return
        self._order = order
        # a finished training still evaluates, for as long as that takes
        self._ordered_at_s = time.monotonic() if order in {Order.LEAVE, Order.ABANDON} else None
        self._group.send(order, self._lease_until_s())

    def _lease_until_s(self) -> float:
        return self._renewed_at_s + self._settings.lease_s

    def _is_overdue(self, now_s: float) -> bool:
        return (
            self._ordered_at_s is not None
            and now_s - self._ordered_at_s > self._settings.cancel_grace_s
        )

    def _give_up(self, reason: str) -> None:
        """The trainer is killed, and that is not the job's fault."""
        self._killed = True
        self._kill(reason)

    def _kill(self, reason: str) -> None:
        log.warning("trainer_killed", job=self._job.id, reason=reason)
        self._group.kill()

    def _settle(self, exit_code: int) -> None:
        job = self._job_at_the_end()
        if job is None or job.fence != self._job.fence or job.state not in LEASED_STATES:
            return
        log.warning("trainer_died", job=job.id, exit_code=exit_code)
        failure = self._crash(exit_code)
        quiet = self._killed or exit_code in _QUIET_EXITS
        try:
            until_answered(
                lambda: (
                    leases.release(self._database, job.id, job.fence)
                    if quiet
                    else leases.record_crash(self._database, job.id, job.fence, failure)
                )
            )
        except (LeaseLostError, NotFoundError) as problem:
            # a sweeper was faster, or the answer to our own write was lost
            log.warning("fenced_off", reason=str(problem))

    def _tidy(self) -> None:
        self._keep_log()
        job = self._job_at_the_end()
        if job is not None and job.is_terminal:
            checkpoints.delete_all(self._parts.artifacts, job.id)

    def _log_file(self) -> Path:
        return self._parts.artifacts.log_file(self._job.id, self._job.fence)

    def _keep_log(self) -> None:
        """What the attempt has printed can be read on other machines, if the store takes it now."""
        file = self._log_file()
        if file.exists():
            try:
                self._parts.artifacts.store.keep([file])
            except OSError as problem:
                log.warning("log_not_kept", job=self._job.id, reason=str(problem))

    def _job_at_the_end(self) -> Job | None:
        """None when it had ended, and a client has deleted it since."""
        try:
            return until_answered(lambda: store.get(self._database, self._job.id))
        except NotFoundError:
            return None

    def _crash(self, exit_code: int) -> Failure:
        return Failure(
            code="worker_lost",
            message=f"the trainer {self._how(exit_code)} twice at the same point; its last lines:\n"
            + self._last_lines(),
            hint="GET /v1/jobs/{id}/logs has more; SIGKILL is often a lack of memory",
        )

    def _how(self, exit_code: int) -> str:
        if self._is_stuck:
            return f"did not go on for {self._settings.stall_s:g} s"
        return (
            f"was killed by {signal.Signals(-exit_code).name}"
            if exit_code < 0
            else f"ended with exit code {exit_code}"
        )

    def _last_lines(self) -> str:
        path = self._log_file()
        if not path.exists():
            return "(none)"
        lines = path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])[-2000:]


def _outcome(exit_code: int) -> str:
    if exit_code in _QUIET_EXITS:
        return "gave_up"
    return "ok" if exit_code == 0 else "died"
