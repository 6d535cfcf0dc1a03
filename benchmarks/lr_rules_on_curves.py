"""What every learning-rate rule reads from the 24 recorded curves of the golden files.

    .venv/bin/python benchmarks/lr_rules_on_curves.py               the table, in Markdown
    .venv/bin/python benchmarks/lr_rules_on_curves.py --out FILE    also the picture: .svg or .png

The picture of docs/learning-rate-finder.md is docs/pictures/lr-rules.svg. The curves are already
smoothed, so the rules on the zero-lag curve smooth them once more.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np

from ml.theory.lr_suggestions import LrAnalysis, analyse
from worker.plots.rendering import render
from worker.plots.theme import (
    BLUE,
    FAINT_INK,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    SOFT_INK,
    VERMILLION,
    Heading,
    as_rate,
    finished,
    inline,
)

GOLDEN = Path(__file__).parents[1] / "tests" / "golden" / "lr_suggestions.json"
RECOMMENDED = "recommended"


@dataclass(frozen=True, slots=True)
class Mark:
    """How a rule is drawn; one that lies below others is larger, so that its corners show."""

    colour: str
    shape: str
    area_px: int


MARKS = {
    "valley": Mark(BLUE, "circle", 50),
    "minimum_over_10_zero_lag": Mark(ORANGE, "square", 50),
    "last_clear_descent": Mark(VERMILLION, "triangle-up", 60),
    "minimum_over_10": Mark(PURPLE, "diamond", 150),
    "steepest": Mark(SKY, "triangle-down", 90),
    "slide": Mark(SOFT_INK, "cross", 110),
}
"""The three that the recommendation is the median of come first, and are drawn on top."""

COLUMNS, PANEL_WIDTH_PX, PANEL_HEIGHT_PX = 4, 210, 120
ROOM_BELOW, ROOM_ABOVE = 0.12, 0.5


@dataclass(frozen=True, slots=True)
class Case:
    """A recorded curve and what the rules say of it."""

    name: str
    lrs: Sequence[float]
    losses: Sequence[float]
    found: LrAnalysis


def cases() -> list[Case]:
    """The curves in the order of the file."""
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"]
    return [_case(one) for one in recorded]


def _case(one: dict[str, Any]) -> Case:
    losses = [float(loss) for loss in one["recorded_losses"]]
    found = analyse(one["recorded_lrs"], losses, num_steps=one["num_it"])
    return Case(one["id"], one["recorded_lrs"], losses, found)


def table(shown: Sequence[Case]) -> Iterator[str]:
    """The lines of a Markdown table with the rate of each rule."""
    yield "| curve | " + " | ".join(f"`{rule}`" for rule in (*MARKS, RECOMMENDED)) + " |"
    yield "|---|" + "--:|" * (len(MARKS) + 1)
    for case in shown:
        rates = [case.found.suggestions[rule] for rule in MARKS]
        told = [as_rate(one.lr) if one else "–" for one in rates]
        yield f"| `{case.name}` | {' | '.join(told)} | {_told(case.found)} |"


def _told(found: LrAnalysis) -> str:
    recommended = found.recommended
    if recommended is None:
        return "–"
    rate = as_rate(recommended.lr)
    bold = f"**{rate}**" if recommended.confidence == "medium" else rate
    return f"{bold} default" if recommended.rule == "default" else bold


def picture(shown: Sequence[Case]) -> Any:  # noqa: ANN401  (altair's chart)
    """One panel for each curve, with a mark for each rule."""
    rows = [
        alt.hconcat(*map(_panel, shown[start : start + COLUMNS]), spacing=14)
        for start in range(0, len(shown), COLUMNS)
    ]
    heading = Heading(
        "What each rule reads from 24 recorded range tests",
        (
            "line: the recorded loss against the rate; mark: the rate of a rule",
            "green line: the recommended rate, dotted where it is the default",
            "rates outside the recorded ones have no mark; the exploding end leaves its panel",
        ),
    )
    return finished(alt.vconcat(_legend(), *rows, spacing=8), heading)


def _legend() -> Any:  # noqa: ANN401
    """The marks and their rules, in one line."""
    x = alt.X("x:Q", scale=alt.Scale(domain=[-0.01, 1]), axis=None)
    layers = []
    for place, rule in zip([0, 0.085, 0.285, 0.44, 0.58, 0.665], MARKS, strict=True):
        base = alt.Chart(inline([{"x": place, "rule": rule}])).encode(x=x)
        layers += [_marked(base, rule), base.mark_text(align="left", dx=8).encode(text="rule:N")]
    return alt.layer(*layers).properties(width=COLUMNS * PANEL_WIDTH_PX, height=16)


def _marked(chart: alt.Chart, rule: str) -> alt.Chart:
    mark = MARKS[rule]
    drawn: alt.Chart = chart.mark_point(
        filled=True,
        opacity=1,
        color=mark.colour,
        shape=mark.shape,
        size=mark.area_px,
        stroke="white",
        strokeWidth=0.7,
        clip=True,
    )
    return drawn


def _panel(case: Case) -> Any:  # noqa: ANN401
    x, y = _axes(case)
    # a line to 1e36 is not drawn at all
    highest = 2 * _shown_losses(case)[1]
    known = [
        {"lr": lr, "loss": min(loss, highest)}
        for lr, loss in zip(case.lrs, case.losses, strict=True)
        if math.isfinite(loss)
    ]
    line = alt.Chart(inline(known)).mark_line(color=FAINT_INK, strokeWidth=1.4, clip=True)
    marks = [
        _marked(alt.Chart(inline([point])), rule).encode(x=x, y=y)
        for rule, point in _points(case).items()
    ]
    layers = [line.encode(x=x, y=y), *_recommended(case, x), *marks]
    title = alt.TitleParams(case.name, fontSize=11, offset=4, anchor="start")
    return alt.layer(*layers).properties(width=PANEL_WIDTH_PX, height=PANEL_HEIGHT_PX, title=title)


def _axes(case: Case) -> tuple[alt.X, alt.Y]:
    first, last = math.log10(case.lrs[0]), math.log10(case.lrs[-1])
    apart = 1 if last - first < 3 else 2 if last - first < 9 else 4
    ticks = [10.0**power for power in range(math.ceil(first), math.floor(last) + 1, apart)]
    x = alt.X(
        "lr:Q",
        scale=alt.Scale(type="log", domain=[case.lrs[0], case.lrs[-1]], nice=False),
        axis=alt.Axis(title=None, values=ticks, format=".0e", grid=True),
    )
    scale = alt.Scale(domain=_shown_losses(case), zero=False, nice=False)
    return x, alt.Y("loss:Q", scale=scale, axis=_loss_axis())


def _loss_axis() -> alt.Axis:
    # as wide in every panel, so that they stand below each other
    return alt.Axis(title=None, tickCount=3, minExtent=34, maxExtent=34)


def _shown_losses(case: Case) -> list[float]:
    """From below the minimum to above the highest loss before it."""
    known = np.array([loss for loss in case.losses if math.isfinite(loss)] or [1.0, 0.0])
    low, high = float(known.min()), float(known[: int(known.argmin()) + 1].max())
    if high == low:
        high = min(float(known.max()), 2 * high)
    span = max(high - low, 0.02 * abs(high), 1e-3)
    return [low - ROOM_BELOW * span, high + ROOM_ABOVE * span]


def _points(case: Case) -> dict[str, dict[str, float]]:
    """The point of the line at each rule's rate, where that is within the recorded ones."""
    low, high = _shown_losses(case)
    points = {}
    for rule in reversed(MARKS):
        found = case.found.suggestions[rule]
        if found is not None and case.lrs[0] <= found.lr <= case.lrs[-1]:
            loss = float(np.interp(math.log(found.lr), np.log(case.lrs), case.losses))
            points[rule] = {"lr": found.lr, "loss": min(max(loss, low), high)}
    return points


def _recommended(case: Case, x: alt.X) -> list[Any]:
    found = case.found.recommended
    if found is None or not case.lrs[0] <= found.lr <= case.lrs[-1]:
        return []
    dash = [2, 3] if found.rule == "default" else [1, 0]
    base = alt.Chart(inline([{"lr": found.lr}]))
    return [base.mark_rule(color=GREEN, strokeWidth=2, strokeDash=dash, clip=True).encode(x=x)]


def main() -> None:
    """Prints the table; draws the picture where it is asked for."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--out", type=Path, help="file of the picture, .svg or .png")
    out: Path | None = arguments.parse_args().out
    shown = cases()
    print("\n".join(table(shown)))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_bytes(render(picture(shown))[out.suffix.removeprefix(".")])


if __name__ == "__main__":
    main()
