"""Tells how far a job is: the first of each phase at once, then at most twice a second."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import structlog

from jobs import curves
from jobs.curves import CurvePoint, ProgressUpdate
from jobs.errors import StoreUnavailableError
from worker.context import Context

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
    """Writes progress under the job's fence, at most twice a second within a phase.

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

    def enter(self, phase: str) -> None:
        """What is told next belongs to this phase, and is told without delay."""
        self.phase = phase
        self._written_at_s = -math.inf

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
            update = self._update(progress, {})
            self._context.tell(curves.record_progress, update)
            self._forget(update)

    def write(
        self, progress: dict[str, Any], latest: dict[str, Any], *, at_once: bool = False
    ) -> None:
        """The job shows this progress, unless it was shown another less than half a second ago."""
        now_s = time.monotonic()
        told = (progress, len(self._points))
        if told == self._told or (not at_once and now_s - self._written_at_s < _WRITE_EVERY_S):
            return
        if not self._context.control.speaks:
            return
        self._written_at_s = now_s
        job, update = self._context.job, self._update(progress, latest)
        try:
            curves.record_progress(self._context.database, job.id, job.fence, update)
        except StoreUnavailableError as problem:
            log.warning("progress_waits", error=str(problem), steps=len(self._points))
            return
        self._forget(update)
        self._context.doorbell.happened(job.id)

    def _update(self, progress: dict[str, Any], latest: dict[str, Any]) -> ProgressUpdate:
        return ProgressUpdate(progress=progress, latest=latest, points=tuple(self._points))

    def _forget(self, written: ProgressUpdate) -> None:
        self._points.clear()
        self._told = (dict(written.progress), 0)
