"""The reliability diagram: how often photos are right of which the network is how sure."""

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from ml.theory.calibration import Bin
from worker.plots.theme import (
    BLUE,
    FAINT_INK,
    INK,
    ORANGE,
    PAPER,
    SKY,
    SOFT_INK,
    Heading,
    finished,
    inline,
)

COLOUR_OF = {"as right as sure": BLUE, "too sure": ORANGE, "not sure enough": SKY}
"""The pieces of a bar: the first two end at how sure it is, the first and last at how right."""

_SIDE_PX, _COUNTS_PX = 380, 84


def draw(bins: Sequence[Bin], heading: Heading) -> Any:  # noqa: ANN401  (altair's chart)
    """The plot: accuracy and confidence of each bin, and below how many photos it has."""
    return finished(alt.vconcat(_reliability(bins), _counts(bins)), heading)


def piece_rows(bins: Sequence[Bin]) -> list[dict[str, Any]]:
    """One row for each piece of each bar; a bin without photos has no bar."""
    return [
        {"lower": each.lower, "upper": each.upper, "piece": name, "low": low, "high": high}
        for each in bins
        for name, low, high in _pieces(each)
    ]


def _pieces(each: Bin) -> Iterator[tuple[str, float, float]]:
    if each.accuracy is None or each.confidence is None:
        return
    matched, too_sure, not_sure_enough = COLOUR_OF
    low, high = sorted((each.accuracy, each.confidence))
    yield matched, 0.0, low
    if low < high:
        yield too_sure if each.accuracy < each.confidence else not_sure_enough, low, high


def _reliability(bins: Sequence[Bin]) -> Any:  # noqa: ANN401
    y = alt.Y("low:Q", scale=_shares(), axis=_percent("share of right photos"))
    colour = alt.Color(
        "piece:N",
        scale=alt.Scale(domain=list(COLOUR_OF), range=list(COLOUR_OF.values())),
        legend=alt.Legend(title=None, orient="right", symbolType="square"),
    )
    bars = alt.Chart(inline(piece_rows(bins))).mark_rect(stroke=PAPER, strokeWidth=1)
    diagonal = alt.Chart(inline([{"x": 0, "y": 0}, {"x": 1, "y": 1}])).mark_line(
        color=INK, strokeDash=[4, 4], strokeWidth=1.2
    )
    layers = [
        bars.encode(x=_sureness(None), x2="upper:Q", y=y, y2="high:Q", color=colour),
        diagonal.encode(x=alt.X("x:Q", scale=_shares()), y=alt.Y("y:Q", scale=_shares())),
    ]
    return alt.layer(*layers).properties(width=_SIDE_PX, height=_SIDE_PX)


def _counts(bins: Sequence[Bin]) -> Any:  # noqa: ANN401
    rows = [
        {"lower": e.lower, "upper": e.upper, "middle": (e.lower + e.upper) / 2, "count": e.count}
        for e in bins
        if e.count
    ]
    y = alt.Y("count:Q", axis=alt.Axis(title="photos", tickCount=3, format="d", tickMinStep=1))
    bars = alt.Chart(inline(rows)).mark_rect(color=FAINT_INK, stroke=PAPER)
    numbers = alt.Chart(inline(rows)).mark_text(dy=-6, color=SOFT_INK, fontSize=10)
    title = "probability of the predicted class (how sure it is)"
    layers = [
        bars.encode(x=_sureness(title), x2="upper:Q", y=y, y2=alt.Y2(datum=0)),
        numbers.encode(
            x=alt.X("middle:Q", scale=_shares()), y=y, text=alt.Text("count:Q", format=".3~s")
        ),
    ]
    return alt.layer(*layers).properties(width=_SIDE_PX, height=_COUNTS_PX)


def _sureness(title: str | None) -> alt.X:
    axis = _percent(title) if title else alt.Axis(title=None, labels=False, ticks=False)
    return alt.X("lower:Q", scale=_shares(), axis=axis)


def _percent(title: str) -> alt.Axis:
    return alt.Axis(title=title, format=".0%", tickCount=5)


def _shares() -> alt.Scale:
    return alt.Scale(domain=[0, 1], nice=False)
