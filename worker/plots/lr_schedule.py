"""The schedule that was used: every layer group's learning rate and the momentum, per step."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from jobs.curves import CurvePoint
from worker.plots import phases
from worker.plots.theme import (
    INK,
    SKY,
    VERMILLION,
    WIDTH_PX,
    Heading,
    decades,
    finished,
    inline,
    rate_axis,
)

_BODY_BLUES = (SKY, "#2f8fc8", "#0072B2", "#00568a", "#003f66")
_RATE_PX, _MOMENTUM_PX = 280, 90
_FROZEN = "frozen"
_ROOM = 0.1
_RATE_ROOM = 1.3
"""A factor of room above the highest rate and below the lowest."""


def draw(points: Sequence[CurvePoint], heading: Heading) -> Any:  # noqa: ANN401
    """The plot of the steps taken so far."""
    return finished(alt.vconcat(_rates(points), _momenta(points)), _told(points, heading))


def _told(points: Sequence[CurvePoint], heading: Heading) -> Heading:
    if not any(row["is_idle"] and row["rate"] for row in rate_rows(points)):
        return heading
    return heading.and_line("dotted: the frozen body, where normalisation layers only can use it")


def group_names(groups: int) -> list[str]:
    """Names of layer groups, the lowest first, the head last."""
    if groups == 1:
        return ["all layers"]
    ends = {1: "", groups - 1: ""}
    if groups > 2:
        ends = {1: " (first layers)", groups - 1: " (last layers)"}
    body = [f"body {number}{ends.get(number, '')}" for number in range(1, groups)]
    return [*(["body"] if groups == 2 else body), "head"]


def rate_rows(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """One row for each step and layer group, or for each step where one rate is for all of them.

    A rate of zero has no place on the axis.
    """
    groups = _groups(points)
    names = group_names(groups)
    return [
        {
            "step": point.global_step + 1,
            "phase": phase,
            "group": names[place],
            "rate": rate if rate > 0 else None,
            "is_idle": point.phase == _FROZEN and place < groups - 1,
        }
        for point, phase in zip(points, phases.phase_names(points), strict=True)
        for place, rate in enumerate(point.lrs[:groups])
    ]


def momentum_rows(points: Sequence[CurvePoint]) -> list[dict[str, Any]]:
    """One row for each step."""
    return [
        {"step": point.global_step + 1, "phase": phase, "momentum": point.momentum}
        for point, phase in zip(points, phases.phase_names(points), strict=True)
    ]


def _rates(points: Sequence[CurvePoint]) -> Any:  # noqa: ANN401
    names = group_names(_groups(points))
    scale = alt.Scale(domain=names, range=_colours(len(names)))
    legend = alt.Legend(title="layer group", orient="right")
    rows = rate_rows(points)
    rates = [row["rate"] for row in rows if row["rate"] is not None] or [1e-3]
    axis = rate_axis(title="learning rate", values=decades(rates))
    ends = [min(rates) / _RATE_ROOM, max(rates) * _RATE_ROOM]
    used, idle = ([row for row in rows if row["is_idle"] == which] for which in (False, True))
    x = phases.step_axis(points, title=None)
    shared: dict[str, Any] = {
        "x": x,
        "y": alt.Y("rate:Q", scale=alt.Scale(type="log", domain=ends, nice=False), axis=axis),
        "color": alt.Color("group:N", scale=scale, legend=legend, sort=names),
        "detail": "phase:N",
    }
    layers = [
        *phases.boundaries(points, x),
        alt.Chart(inline(idle)).mark_line(strokeDash=[1, 4], strokeWidth=1.2).encode(**shared),
        alt.Chart(inline(used)).mark_line(strokeWidth=2.2, point=_dots(points)).encode(**shared),
        *phases.labels(points, x),
    ]
    return alt.layer(*layers).properties(width=WIDTH_PX, height=_RATE_PX)


def _groups(points: Sequence[CurvePoint]) -> int:
    """How many lines of rates there are: one where all groups always have the same."""
    if all(len(set(point.lrs)) == 1 for point in points):
        return 1
    return max(len(point.lrs) for point in points)


def _dots(points: Sequence[CurvePoint]) -> alt.OverlayMarkDef | bool:
    """Dots on the lines where a phase has a single step, which is no line."""
    is_alone = any(span.end - span.begin == 1 for span in phases.phase_spans(points))
    return alt.OverlayMarkDef(size=30, color=INK) if is_alone else False


def _momenta(points: Sequence[CurvePoint]) -> Any:  # noqa: ANN401
    values = [point.momentum for point in points]
    low, high = min(values, default=0.0), max(values, default=0.0)
    room = _ROOM * (high - low) or _ROOM
    scale = alt.Scale(domain=[low - room, high + room], nice=False)
    axis = alt.Axis(title="momentum", values=sorted({low, (low + high) / 2, high}), format=".2f")
    x, y = (
        phases.step_axis(points, title="optimiser step"),
        alt.Y("momentum:Q", scale=scale, axis=axis),
    )
    line = alt.Chart(inline(momentum_rows(points))).mark_line(
        strokeWidth=2, color=INK, point=_dots(points)
    )
    layers = [*phases.boundaries(points, x), line.encode(x=x, y=y, detail="phase:N")]
    return alt.layer(*layers).properties(width=WIDTH_PX, height=_MOMENTUM_PX)


def _colours(groups: int) -> list[str]:
    """Blues for the body, darker towards its end, and a colour of its own for the head."""
    body = groups - 1
    if body <= 0:
        return [VERMILLION]
    last = len(_BODY_BLUES) - 1
    if body == 1:
        return [_BODY_BLUES[last // 2], VERMILLION]
    return [*(_BODY_BLUES[round(last * n / (body - 1))] for n in range(body)), VERMILLION]
