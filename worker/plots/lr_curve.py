"""The learning-rate curve: loss against rate, what each rule reads from it, the recommendation."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np

from worker.plots.theme import (
    BLUE,
    FAINT_INK,
    GREEN,
    INK,
    ORANGE,
    SOFT_INK,
    VERMILLION,
    WIDTH_PX,
    Heading,
    Series,
    as_rate,
    decades,
    finished,
    inline,
    rate_axis,
)

RULES = {
    "valley": "valley",
    "minimum_over_10_zero_lag": "minimum ÷ 10, zero lag",
    "last_clear_descent": "last clear descent",
    "minimum_over_10": "minimum ÷ 10",
    "steepest": "steepest",
    "slide": "slide",
}
"""The three that the recommendation is the median of come first."""

_ZERO_LAG_RULES = frozenset({"minimum_over_10_zero_lag", "last_clear_descent"})
_SERIES = Series(
    ("each step", "smoothed", "zero lag"), (FAINT_INK, BLUE, ORANGE), corner="top-left"
)
_HEIGHT_PX, _ROW_PX = 300, 22
_ABOVE, _BELOW = 0.45, 0.12
_LABEL_ROOM = 300.0
"""A label this factor of rates before the end of the axis touches none that ends there."""

Curve = Mapping[str, Any]
Floats = Sequence[float | None]


def draw(curve: Curve, heading: Heading) -> Any:  # noqa: ANN401  (altair's chart)
    """The plot of a finished range test; ``curve`` is its result.

    The loss axis ends a little above the level before the descent, so that the exploding end
    leaves the plot instead of flattening it.
    """
    both = alt.vconcat(_losses(curve), _rules(curve)).resolve_scale(color="independent")
    told = heading.and_line(_conclusion(curve))
    which = _which(curve)
    return finished(both, told if which is None else told.and_line(which))


def _which(curve: Curve) -> str | None:
    """Which of several sweeps is drawn; None where there is one."""
    sweeps = len(curve.get("repeats") or ())
    swept = "of the head " if curve.get("groups") else ""
    if sweeps > 1:
        return f"the first of {sweeps} sweeps {swept}is drawn; recommended is the median of all"
    return "the sweep of the head is drawn" if swept else None


def _conclusion(curve: Curve) -> str:
    found = curve["recommended"]
    if found is None:
        return "no rate can be recommended: none of the rules has an answer"
    low, high = found["range"]
    return (
        f"recommended: {as_rate(found['lr'])} (from {as_rate(low)} to {as_rate(high)}), "
        f"confidence {found['confidence']}"
    )


def _losses(curve: Curve) -> Any:  # noqa: ANN401
    data = inline(curve_rows(curve))
    y = _loss_axis(curve)
    base = alt.Chart(data).encode(x=_rate_axis(curve, title=None))
    lines = [
        base.mark_circle(size=16, opacity=0.75, clip=True).encode(y=y("raw")),
        base.mark_line(strokeWidth=2.2, clip=True).encode(y=y("smoothed")),
        base.mark_line(strokeWidth=1.6, clip=True).encode(y=y("zero_lag")),
    ]
    named = [_SERIES.named(place, line) for place, line in enumerate(lines)]
    layers = [
        *_recommended(curve, title=None),
        *_label(curve),
        *named,
        *_divergence(curve),
        _markers_on_curve(curve, y),
    ]
    return alt.layer(*layers).properties(width=WIDTH_PX, height=_HEIGHT_PX)


def curve_rows(curve: Curve) -> list[dict[str, Any]]:
    """One row for each recorded step."""
    columns = zip(curve["lrs"], curve["losses"], curve["smoothed"], curve["zero_lag"], strict=True)
    return [
        {"step": step, "lr": lr, "raw": raw, "smoothed": smoothed, "zero_lag": zero_lag}
        for step, (lr, raw, smoothed, zero_lag) in enumerate(columns)
    ]


def loss_range(curve: Curve) -> tuple[float, float]:
    """The losses that the plot shows: the descent with some room above and below it."""
    smoothed = np.array(_finite(curve["smoothed"]) or [0.0, 1.0])
    before = smoothed[: int(smoothed.argmin()) + 1]
    low = min([float(smoothed.min()), *_finite(curve["zero_lag"])])
    high = float(before.max())
    span = max(high - low, 0.05 * abs(high), 1e-3)
    return low - _BELOW * span, high + _ABOVE * span


def _loss_axis(curve: Curve) -> Any:  # noqa: ANN401
    scale = alt.Scale(domain=list(loss_range(curve)), nice=False, zero=False)
    axis = alt.Axis(title="cross-entropy loss, nats", tickCount=6)
    return lambda field: alt.Y(f"{field}:Q", scale=scale, axis=axis)


def _rate_axis(curve: Curve, *, title: str | None, field: str = "lr") -> alt.X:
    first, last = min(curve["lrs"]), max(curve["lrs"])
    values = decades([first, last])
    axis = rate_axis(title=title, values=values)
    scale = alt.Scale(type="log", domain=[first, last], nice=False)
    return alt.X(f"{field}:Q", scale=scale, axis=axis)


def _recommended(curve: Curve, *, title: str | None) -> list[Any]:
    found = curve["recommended"]
    if found is None:
        return []
    low, high = found["range"]
    data = inline([{"lr": found["lr"], "low": low, "high": high}])
    base = alt.Chart(data)
    line, band = _rate_axis(curve, title=title), _rate_axis(curve, title=title, field="low")
    return [
        base.mark_rect(color=GREEN, opacity=0.14, clip=True).encode(x=band, x2="high:Q"),
        base.mark_rule(color=GREEN, strokeWidth=2, clip=True).encode(x=line),
    ]


def _label(curve: Curve) -> list[Any]:
    """The recommended rate, above its line; higher where the divergence has its label."""
    found = curve["recommended"]
    if found is None:
        return []
    is_last = found["lr"] * _LABEL_ROOM > curve["lrs"][-1]
    text = alt.Chart(inline([{"lr": found["lr"], "label": f"recommended {as_rate(found['lr'])}"}]))
    mark = text.mark_text(color=GREEN, align="center", baseline="bottom", y=-20 if is_last else -5)
    return [mark.encode(x=_rate_axis(curve, title=None), text="label:N")]


def _divergence(curve: Curve) -> list[Any]:
    step = curve["diverged_at_step"]
    if step is None:
        return []
    data = inline([{"lr": curve["lrs"][step], "label": f"diverged at step {step}"}])
    base = alt.Chart(data).encode(x=_rate_axis(curve, title=None))
    return [
        base.mark_rule(color=VERMILLION, strokeDash=[2, 3], strokeWidth=1.5),
        base.mark_text(color=VERMILLION, align="right", baseline="bottom", y=-5).encode(
            text="label:N"
        ),
    ]


def suggestion_rows(curve: Curve) -> list[dict[str, Any]]:
    """One row for each rule: its rate, the loss there, and the point that it looked at."""
    return [_suggestion(curve, rule, name) for rule, name in RULES.items()]


def _suggestion(curve: Curve, rule: str, name: str) -> dict[str, Any]:
    found = curve["suggestions"].get(rule)
    if found is None:
        return {"rule": name, "lr": None, "loss": None, "marker": None, "text": "no answer"}
    marker = found.get("marker")
    line = curve["zero_lag" if rule in _ZERO_LAG_RULES else "smoothed"]
    return {
        "rule": name,
        "lr": found["lr"],
        "loss": _loss_at(found["lr"], curve["lrs"], line),
        "marker": None if marker is None else marker["lr"],
        "text": as_rate(found["lr"]),
    }


def _loss_at(lr: float, lrs: Sequence[float], losses: Floats) -> float | None:
    known = [(rate, loss) for rate, loss in zip(lrs, losses, strict=True) if loss is not None]
    if not known or not known[0][0] <= lr <= known[-1][0]:
        return None
    rates, values = zip(*known, strict=True)
    return float(np.interp(math.log(lr), np.log(rates), values))


def _markers_on_curve(curve: Curve, y: Any) -> Any:  # noqa: ANN401
    return (
        alt.Chart(inline(suggestion_rows(curve)))
        .mark_point(
            filled=True, opacity=1, size=55, color=INK, stroke="white", strokeWidth=1, clip=True
        )
        .encode(x=_rate_axis(curve, title=None), y=y("loss"), tooltip=["rule:N", "text:N"])
    )


def _rules(curve: Curve) -> Any:  # noqa: ANN401
    """A strip with one line for each rule: its rate, joined to the point that it looked at."""
    y = alt.Y("rule:N", sort=list(RULES.values()), axis=_rule_axis())
    base = alt.Chart(inline(suggestion_rows(curve))).encode(y=y)
    x, marker = _rate_axis(curve, title="learning rate"), "marker:Q"
    layers = [
        _key(),
        base.mark_rule(color=FAINT_INK, strokeWidth=1.2, clip=True).encode(x=x, x2=marker),
        base.mark_point(
            filled=False, opacity=1, size=45, color=FAINT_INK, fill="white", clip=True
        ).encode(x=_rate_axis(curve, title="learning rate", field="marker")),
        base.mark_point(filled=True, opacity=1, size=60, color=INK, clip=True).encode(x=x),
        base.mark_text(align="left", x=WIDTH_PX + 10, color=SOFT_INK).encode(text="text:N"),
    ]
    return alt.layer(*_recommended(curve, title="learning rate"), *layers).properties(
        width=WIDTH_PX, height=_ROW_PX * len(RULES)
    )


def _key() -> Any:  # noqa: ANN401
    text = "what each rule suggests (filled), and the point of the curve that it looks at (hollow)"
    key = alt.Chart(inline([{"text": text}]))
    return key.mark_text(align="left", baseline="bottom", x=0, y=-7, color=SOFT_INK).encode(
        text="text:N"
    )


def _rule_axis() -> alt.Axis:
    return alt.Axis(title=None, grid=True, ticks=False, domain=False, labelPadding=8)


def _finite(losses: Floats) -> list[float]:
    return [loss for loss in losses if loss is not None and math.isfinite(loss)]
