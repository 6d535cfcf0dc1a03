"""Writes what a run tells: progress twice a second, epochs and checkpoints at once."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs import checkpoints, curves, leases
from jobs.checkpoints import Checkpoint
from jobs.curves import CurvePoint, EpochRow
from ml import checkpoint
from ml.progress import Command, EpochReport, StepReport
from ml.training_state import TrainingState
from worker.checkpoints import checkpoint_file, delete_others
from worker.context import Context
from worker.control import Order
from worker.epoch_samples import write_epoch
from worker.failures import is_of_the_machine
from worker.progress import ProgressWriter, Speed

_COMMAND_OF = {
    Order.LEAVE: Command.LEAVE,
    Order.FINISH: Command.FINISH,
    Order.ABANDON: Command.ABANDON,
}


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
        self._writer.enter(name)
        self._context.tell(leases.enter_phase, name)

    def presized(self, done: int, total: int) -> None:
        """So many photos of the current part are presized."""
        self._writer.count(done, total)

    def step(self, report: StepReport) -> None:
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

    def epoch(self, report: EpochReport) -> None:
        """The epoch's numbers are in the job's history, its losses beside the checkpoint."""
        self._flush()
        context = self._context
        losses, predictions = report.sample_losses, report.sample_predictions
        if losses is not None and predictions is not None:
            file = write_epoch(context.folder, report.epoch, losses, predictions)
            context.artifacts.store.keep([file])
        row = EpochRow(
            epoch=report.epoch,
            phase=report.phase,
            global_step=report.global_step,
            train_loss=finite(report.train_loss),
            valid_loss=finite(report.valid_loss),
            accuracy=report.accuracy,
            error_rate=report.error_rate,
            seconds=report.seconds,
        )
        context.tell(curves.record_epoch, row)

    def checkpoint(self, state: TrainingState) -> None:
        """The next attempt begins here; of the checkpoints before it only the last is left.

        Where an object store does not take it, the one before stays the newest.
        """
        self._flush()
        context, step = self._context, state.global_step
        path = checkpoint_file(context.folder, step)
        checkpoint.save(path, state)
        if not self._is_kept(path):
            return
        saved = Checkpoint(context.artifacts.relative(path), step)
        needed = context.write(checkpoints.record, saved)
        delete_others(context.artifacts, context.job, needed)
        self._saved_at_s = time.monotonic()

    def _is_kept(self, path: Path) -> bool:
        context = self._context
        log_file = context.artifacts.log_file(context.job.id, context.job.fence)
        try:
            context.artifacts.store.keep([path, *([log_file] if log_file.exists() else [])])
        except OSError as problem:
            # a training that is to go on elsewhere cannot go without
            if not is_of_the_machine(problem) or context.control.order == Order.LEAVE:
                raise
            self._saved_at_s = time.monotonic()
            detail = f"the checkpoint after step {path.stem.rpartition('-')[2]} was not kept"
            self.warning("checkpoint_not_kept", f"{detail}: {problem.strerror}")
            path.unlink(missing_ok=True)
            return False
        return True

    def warning(self, code: str, detail: str) -> None:
        """Clients are told what was decided for them."""
        self._context.tell(curves.record_warning, code, detail)

    def command(self) -> Command:
        """What the supervisor wants; a checkpoint when the last one is old."""
        asked = _COMMAND_OF.get(self._context.control.order)
        if asked is not None:
            return asked
        age_s = time.monotonic() - self._saved_at_s
        return Command.SAVE if age_s >= self._context.settings.checkpoint_s else Command.CONTINUE

    def finish(self) -> None:
        """Every step is on the curve."""
        self._flush()

    def _flush(self) -> None:
        self._writer.flush(self._last)

    def _progress(self, report: StepReport, rate: float | None) -> dict[str, Any]:
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


def finite(value: float | None) -> float | None:
    """The number, or None where JSON has none."""
    return value if value is not None and math.isfinite(value) else None
