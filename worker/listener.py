"""Writes what a run tells: progress twice a second, epochs and checkpoints at once."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from jobs import curves, leases
from jobs.artifacts import published
from jobs.curves import CurvePoint, EpochRow, ProgressUpdate
from jobs.errors import StoreUnavailableError
from worker.context import Context
from worker.control import Order
from worker.patience import until_answered

if TYPE_CHECKING:
    from ml.progress import Command, EpochReport, StepReport
    from ml.training_state import TrainingState

_WRITE_EVERY_S = 0.5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Speed:
    """Photos per second, over the last few seconds."""

    _since_s: float = field(default_factory=time.monotonic)
    _photos: int = 0
    _rate: float | None = None

    def add(self, photos: int) -> float | None:
        """The rate with these photos done; None until there is something to tell."""
        self._photos += photos
        elapsed_s = time.monotonic() - self._since_s
        if elapsed_s >= 1:
            self._rate = self._photos / elapsed_s
            self._since_s, self._photos = time.monotonic(), 0
        return self._rate


class ProgressWriter:
    """Writes progress under the job's fence, at most twice a second.

    A write that fails does not fail the job: what it carried goes with the next one. ``span``
    is the share of the whole job that the counted photos stand for.
    """

    def __init__(
        self, context: Context, *, phase: str, span: tuple[float, float] = (0.0, 1.0)
    ) -> None:
        self._context = context
        self._span = span
        self.phase = phase
        self._points: list[CurvePoint] = []
        self._written_at_s = -math.inf
        self._told: tuple[dict[str, Any], int] = ({}, 0)
        self._speed = Speed()

    def count(self, done: int, total: int) -> None:
        """So many of the phase's photos are done."""
        rate = self._speed.add(1)
        begin, end = self._span
        self.write(
            {
                "fraction": begin + (end - begin) * (done / total if total else 1.0),
                "phase": self.phase,
                "step": done,
                "steps": total,
                "samples_per_second": rate,
            },
            {},
            at_once=done == total,
        )

    def add(self, point: CurvePoint) -> None:
        """The point goes with the next write."""
        self._points.append(point)

    def flush(self, progress: dict[str, Any]) -> None:
        """No point is left that the curve does not have."""
        if self._points:
            until_answered(lambda: self._record(progress, {}))

    def write(
        self, progress: dict[str, Any], latest: dict[str, Any], *, at_once: bool = False
    ) -> None:
        """The job shows this progress, unless it was shown another less than half a second ago."""
        now_s = time.monotonic()
        told = (progress, len(self._points))
        if told == self._told or (not at_once and now_s - self._written_at_s < _WRITE_EVERY_S):
            return
        self._written_at_s = now_s
        try:
            self._record(progress, latest)
        except StoreUnavailableError as problem:
            log.warning("progress_waits", error=str(problem), steps=len(self._points))

    def _record(self, progress: dict[str, Any], latest: dict[str, Any]) -> None:
        update = ProgressUpdate(progress=progress, latest=latest, points=tuple(self._points))
        job = self._context.job
        curves.record_progress(self._context.database, job.id, job.fence, update)
        self._points.clear()
        self._told = (progress, 0)
        self._context.doorbell.happened(job.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How long the whole run is: its epochs and optimiser steps."""

    epochs: int
    steps: int


class JobListener:
    """`ml.progress.Listener` for a job: everything goes to the database under the job's fence."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._course: Course | None = None
        # nothing is trained yet while photos are presized
        self._writer = ProgressWriter(context, phase="presizing", span=(0.0, 0.0))
        self._speed = Speed()
        self._saved_at_s = time.monotonic()
        self._last: dict[str, Any] = {}

    def follow(self, course: Course) -> None:
        """Progress is told as a share of this course from now on."""
        self._course = course

    def phase(self, name: str) -> None:
        """The job is in this phase."""
        self._flush()
        self._writer.phase = name
        context = self._context
        job = context.job
        until_answered(lambda: leases.enter_phase(context.database, job.id, job.fence, name))
        context.doorbell.happened(context.job.id)

    def presized(self, done: int, total: int) -> None:
        """So many photos of the current part are presized."""
        self._writer.count(done, total)

    def step(self, report: "StepReport") -> None:
        """The step is on the curve with the next write."""
        self._writer.add(
            CurvePoint(
                phase=report.phase,
                step=report.step,
                global_step=report.global_step,
                epoch=report.epoch,
                loss=finite(report.loss),
                smoothed=finite(report.smoothed),
                lrs=report.lrs,
                momentum=report.momentum,
            )
        )
        rate = self._speed.add(report.images)
        self._last = self._progress(report, rate)
        self._writer.write(self._last, {"train_loss": finite(report.smoothed)})

    def epoch(self, report: "EpochReport") -> None:
        """The epoch's numbers are in the job's history, its losses beside the checkpoint."""
        self._flush()
        context = self._context
        if report.sample_losses is not None:
            path = context.folder / losses_file(report.epoch)
            with published(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, report.sample_losses)
        row = EpochRow(
            epoch=report.epoch,
            phase=report.phase,
            global_step=int(self._last.get("step") or 0),
            train_loss=finite(report.train_loss),
            valid_loss=finite(report.valid_loss),
            accuracy=report.accuracy,
            error_rate=report.error_rate,
            seconds=report.seconds,
        )
        job = context.job
        until_answered(lambda: curves.record_epoch(context.database, job.id, job.fence, row))
        context.doorbell.happened(context.job.id)

    def checkpoint(self, state: "TrainingState") -> None:
        """The next attempt begins here; the checkpoint before it is gone."""
        from ml import checkpoint

        self._flush()
        context = self._context
        path = context.folder / f"checkpoint-{state.global_step}.pt"
        checkpoint.save(path, state)
        until_answered(
            lambda: curves.record_checkpoint(
                context.database,
                context.job.id,
                context.job.fence,
                path=context.artifacts.relative(path),
                global_step=state.global_step,
            )
        )
        _keep_newest(context.folder, path)
        self._saved_at_s = time.monotonic()
        context.doorbell.happened(context.job.id)

    def warning(self, code: str, detail: str) -> None:
        """Clients are told what was decided for them."""
        context = self._context
        job = context.job
        until_answered(
            lambda: curves.record_warning(context.database, job.id, job.fence, code, detail)
        )
        context.doorbell.happened(context.job.id)

    def command(self) -> "Command":
        """What the supervisor wants; a checkpoint when the last one is old."""
        from ml.progress import Command

        asked = {
            Order.LEAVE: Command.LEAVE,
            Order.FINISH: Command.FINISH,
            Order.ABANDON: Command.ABANDON,
        }.get(self._context.control.order)
        if asked is not None:
            return asked
        age_s = time.monotonic() - self._saved_at_s
        return Command.SAVE if age_s >= self._context.settings.checkpoint_s else Command.CONTINUE

    def finish(self) -> None:
        """Every step is on the curve."""
        self._flush()

    def _flush(self) -> None:
        self._writer.flush(self._last)

    def _progress(self, report: "StepReport", rate: float | None) -> dict[str, Any]:
        done = report.global_step + 1
        course = self._course
        return {
            "fraction": done / course.steps if course else 0.0,
            "phase": report.phase,
            "epoch": report.epoch,
            "epochs": course.epochs if course else None,
            "step": done,
            "steps": course.steps if course else None,
            "samples_per_second": rate,
        }


def losses_file(epoch: int) -> str:
    """Name of the file with the validation losses of one epoch."""
    return f"losses-{epoch}.npy"


def finite(value: float | None) -> float | None:
    """The number, or None where JSON has none."""
    return value if value is not None and math.isfinite(value) else None


def _keep_newest(folder: Path, newest: Path) -> None:
    for path in folder.glob("checkpoint-*"):
        if not path.name.startswith(newest.name):
            path.unlink()
