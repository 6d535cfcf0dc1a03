"""The loss curve: training loss of each step, validation loss and accuracy of each epoch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import altair as alt
import numpy as np

from jobs.curves import CurvePoint, EpochRow
from worker.plots import phases
from worker.plots.theme import (
    BLUE,
    FAINT_INK,
    INK,
    VERMILLION,
    WIDTH_PX,
    Heading,
    Series,
    finished,
    inline,
)

_SERIES = Series(
    ("training, each step", "training, smoothed", "validation, each epoch"),
    (FAINT_INK, BLUE, VERMILLION),
    corner="top-right",
)
_SWEEP_SERIES = replace(_SERIES.without_last(), corner="top-left")
"""A sweep ends high on the right, where a training is low."""
_LOSS_PX, _ACCURACY_PX = 280, 110
_USUAL_SHARE = 0.98
_START, _MOST_OF_START = 10, 2.0
_ROOM, _LEAST_ROOM = 0.06, 0.02
_NEAR_ZERO = 0.35


@dataclass(frozen=True, slots=True)
class Training:
    """How a training went so far."""

    points: Sequence[CurvePoint]
    epochs: Sequence[EpochRow]

    @property
    def has_validation(self) -> bool:
        """Whether any epoch was validated with a finite loss."""
        return any(row.valid_loss is not None for row in self.epochs)


def draw(training: Training, heading: Heading) -> Any:  # noqa: ANN401  (altair's chart)
    """The plot of a training, finished or not; losses that were not finite are gaps."""
    has_accuracy = any(row.accuracy is not None for row in training.epochs)
    losses = _losses(training, title=None if has_accuracy else "optimiser step")
    panels = [losses, _accuracies(training)] if has_accuracy else [losses]
    return finished(alt.vconcat(*panels), heading)


def step_rows(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """One row for each step; ``step`` counts the steps taken, so the first is 1."""
    return [
        {
            "step": point.global_step + 1,
            "phase": phase,
            "epoch": point.epoch + 1,
            "raw": point.loss,
            "smoothed": point.smoothed,
        }
        for point, phase in zip(points, phases.phase_names(points), strict=True)
    ]


def epoch_rows(epochs: Sequence[EpochRow]) -> list[dict[str, Any]]:
    """One row for each epoch, at the number of steps taken when it ended."""
    return [
        {
            "step": row.global_step,
            "epoch": row.epoch + 1,
            "valid_loss": row.valid_loss,
            "accuracy": row.accuracy,
            "loss_label": None if row.valid_loss is None else f"{row.valid_loss:.3g}",
            "accuracy_label": None if row.accuracy is None else f"{row.accuracy:.1%}",
        }
        for row in epochs
    ]


def loss_range(training: Training) -> tuple[float, float]:
    """The losses that the plot shows: smooth ones and all but the wildest raw ones.

    What is above twice the level of the first steps has diverged and leaves the plot.
    """
    raw = [point.loss for point in training.points if point.loss is not None]
    smooth = [point.smoothed for point in training.points if point.smoothed is not None]
    valid = [row.valid_loss for row in training.epochs if row.valid_loss is not None]
    if not raw and not smooth and not valid:
        return 0.0, 1.0
    usual = [float(np.quantile(raw, _USUAL_SHARE))] if raw else []
    start = max(smooth[:_START] + raw[:_START], default=math.inf)
    high = min(max(smooth + valid + usual), _MOST_OF_START * start)
    low = min(raw + smooth + valid)
    if low < _NEAR_ZERO * high:
        return 0.0, high * (1 + _ROOM)
    room = max(_ROOM * (high - low), _LEAST_ROOM * high, 1e-3)
    return max(0.0, low - room), high + room


def _losses(training: Training, *, title: str | None) -> Any:  # noqa: ANN401
    points, scale = training.points, alt.Scale(domain=list(loss_range(training)), nice=False)
    axis = alt.Axis(title="cross-entropy loss, nats", tickCount=6)
    x = phases.step_axis(points, title=title)
    steps = alt.Chart(inline(step_rows(points))).encode(x=x, detail="phase:N")
    raw, smoothed = (alt.Y(f"{name}:Q", scale=scale, axis=axis) for name in ("raw", "smoothed"))
    series = _series(training)
    layers = [
        *phases.boundaries(points, x),
        series.named(0, steps.mark_circle(size=13, opacity=0.75, clip=True).encode(y=raw)),
        series.named(1, steps.mark_line(strokeWidth=2.2, clip=True).encode(y=smoothed)),
        *_validation(training, x, alt.Y("valid_loss:Q", scale=scale, axis=axis)),
        *phases.labels(points, x),
    ]
    return alt.layer(*layers).properties(width=WIDTH_PX, height=_LOSS_PX)


def _series(training: Training) -> Series:
    if training.has_validation:
        return _SERIES
    is_sweep = any(point.phase == phases.SWEEPING for point in training.points)
    return _SWEEP_SERIES if is_sweep else _SERIES.without_last()


def _validation(training: Training, x: alt.X, y: alt.Y) -> list[Any]:
    if not training.has_validation:
        return []
    known = [row for row in epoch_rows(training.epochs) if row["valid_loss"] is not None]
    rows = alt.Chart(inline(known)).encode(x=x, y=y)
    last = alt.Chart(inline(known[-1:])).encode(x=x, y=y, text="loss_label:N")
    return [
        _SERIES.named(2, rows.mark_line(strokeWidth=2)),
        _SERIES.named(2, rows.mark_circle(size=60, opacity=1)),
        last.mark_text(align="left", dx=9, color=VERMILLION),
    ]


def _accuracies(training: Training) -> Any:  # noqa: ANN401
    points = training.points
    known = [row for row in epoch_rows(training.epochs) if row["accuracy"] is not None]
    lowest = min(row["accuracy"] for row in known)
    scale = alt.Scale(domain=[max(0.0, 0.1 * int(10 * lowest - 0.5)), 1.0], nice=False)
    axis = alt.Axis(title="accuracy", format=".0%", tickCount=4)
    x = phases.step_axis(points, title="optimiser step")
    y = alt.Y("accuracy:Q", scale=scale, axis=axis)
    rows = alt.Chart(inline(known)).encode(x=x, y=y)
    last = alt.Chart(inline(known[-1:])).encode(x=x, y=y, text="accuracy_label:N")
    layers = [
        *phases.boundaries(points, x),
        rows.mark_line(strokeWidth=2, color=VERMILLION),
        rows.mark_circle(size=60, color=VERMILLION, opacity=1),
        last.mark_text(align="left", dx=9, color=INK),
    ]
    return alt.layer(*layers).properties(width=WIDTH_PX, height=_ACCURACY_PX)
