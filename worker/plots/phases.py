"""Phases and epochs of a training as marks that share a plot's axis of steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import altair as alt

from jobs.curves import CurvePoint
from worker.plots.theme import GRID, INK, SOFT_INK, WIDTH_PX, inline

SWEEPING = "sweeping"

_NAMES = {"frozen": "body frozen", "unfrozen": "all layers"}
_MOST_EPOCH_LABELS = 16
_MOST_PHASE_LABELS = 10
_MOST_EPOCH_LINES = 64
_END = 1.01
"""The axis goes on a little, so that the last dot is whole."""
_FEW_STEPS = 10


@dataclass(frozen=True, slots=True)
class Span:
    """Steps taken before and after one phase or epoch."""

    name: str
    begin: int
    end: int


def phase_names(points: Sequence[CurvePoint]) -> list[str]:
    """The phase of each step; sweeps that follow each other are numbered from 1.

    Within a sweep the rate only grows, so where it falls the next one has begun.
    """
    rates = [max(point.lrs, default=0.0) for point in points]
    falls = [False, *(after < before for before, after in pairwise(rates))][: len(points)]
    numbers = list(accumulate(falls, initial=1))[1:]
    is_one = not any(falls)
    return [
        point.phase if point.phase != SWEEPING or is_one else f"sweep {number}"
        for point, number in zip(points, numbers, strict=True)
    ]


def phase_spans(points: Sequence[CurvePoint]) -> list[Span]:
    """The phases and sweeps in order; each ends where the next begins."""
    steps = [point.global_step for point in points]
    return _spans(list(zip(phase_names(points), steps, strict=True)))


def epoch_spans(points: Sequence[CurvePoint]) -> list[Span]:
    """The epochs in order, named from 1; each ends where the next begins."""
    return _spans([(str(point.epoch + 1), point.global_step) for point in points])


def _spans(steps: Sequence[tuple[str, int]]) -> list[Span]:
    begins = [
        (name, step)
        for place, (name, step) in enumerate(steps)
        if place == 0 or steps[place - 1][0] != name
    ]
    ends = [step for _, step in begins[1:]] + [step + 1 for _, step in steps[-1:]]
    return [Span(name, step, end) for (name, step), end in zip(begins, ends, strict=True)]


def step_axis(points: Sequence[CurvePoint], *, title: str | None) -> alt.X:
    """The axis of steps: 0 is before the first step, n after n of them; bare without a title.

    All layers of one plot must have the same.
    """
    last = points[-1].global_step + 1 if points else 1
    axis = alt.Axis(
        title=title,
        grid=False,
        format=",d",
        tickCount=10,
        tickMinStep=1,
        labels=title is not None,
        labelFlush=False,
        values=list(range(last + 1)) if last <= _FEW_STEPS else alt.Undefined,
    )
    return alt.X("step:Q", axis=axis, scale=alt.Scale(domain=[0, _END * last], nice=False))


def boundaries(points: Sequence[CurvePoint], x: alt.X) -> list[Any]:
    """Faint lines where an epoch ends, a clear one where a phase does.

    Lines of very many epochs would be a surface; every so-many-th is drawn then.
    """
    ends = [{"step": span.end} for span in epoch_spans(points)[:-1]]
    every = -(-len(ends) // _MOST_EPOCH_LINES) or 1
    epochs = ends[every - 1 :: every]
    phases = [{"step": span.end} for span in phase_spans(points)[:-1]]
    return [
        alt.Chart(inline(epochs)).mark_rule(color=GRID).encode(x=x),
        alt.Chart(inline(phases)).mark_rule(color=INK, strokeWidth=1.2).encode(x=x),
    ]


def labels(points: Sequence[CurvePoint], x: alt.X) -> list[Any]:
    """Numbers of epochs and names of phases, above the plot."""
    return [_epoch_labels(points, x), *_phase_labels(points, x)]


def _epoch_labels(points: Sequence[CurvePoint], x: alt.X) -> Any:  # noqa: ANN401
    spans = epoch_spans(points)
    every = -(-len(spans) // _MOST_EPOCH_LABELS) or 1
    rows = [
        {
            "step": (span.begin + span.end) / 2,
            "label": f"epoch {span.name}" if place == 0 else span.name,
        }
        for place, span in enumerate(spans)
        if place % every == 0
    ]
    return _text(rows, x, y=-8, color=SOFT_INK, align="center")


def _phase_labels(points: Sequence[CurvePoint], x: alt.X) -> list[Any]:
    """The names on both sides of each change, where there is always room for them."""
    spans = phase_spans(points)
    if len(spans) < 2:
        return []
    every = -(-len(spans) // _MOST_PHASE_LABELS)
    before = [{"step": spans[0].end, "label": _name(spans[0])}]
    after = [
        {"step": span.begin, "label": _name(span)}
        for place, span in enumerate(spans)
        if place > 0 and place % every == 0
    ]
    return [
        _text(before, x, y=-24, color=INK, align="right", dx=-6),
        _text(after, x, y=-24, color=INK, align="left", dx=6),
        alt.Chart(inline(before))
        .mark_rule(color=INK, strokeWidth=1.2)
        .encode(x=x, y=alt.value(-30), y2=alt.value(0)),
    ]


def _text(rows: list[dict[str, Any]], x: alt.X, **mark: Any) -> Any:  # noqa: ANN401
    text = alt.Chart(inline(rows)).mark_text(baseline="bottom", limit=WIDTH_PX / 2, **mark)
    return text.encode(x=x, text="label:N")


def _name(span: Span) -> str:
    return _NAMES.get(span.name, span.name)
