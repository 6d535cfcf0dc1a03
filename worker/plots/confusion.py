"""The confusion matrix: what each class was taken for, as shares of its photos.

Shapes: C = classes. In a confusion matrix rows are actual, columns predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt

from worker.plots.theme import Heading, finished, inline

MOST_CLASSES = 40
"""More than these cannot be read on a page; the most confused are drawn then."""

Counts = npt.NDArray[np.int64]

_SMALLEST_FONT_PX, _LARGEST_FONT_PX, _FONT_SHARE = 9, 16, 0.36
_DIGIT_SHARE = 0.56
"""Width of a digit, of its height."""
_SIDE_PX, _LARGEST_CELL_PX, _SMALLEST_CELL_PX = 620, 110, 15
_MOST_LEVEL_LABELS, _LONGEST_LEVEL_LABEL = 6, 12
_RIGHT, _WRONG = ["#e3eef7", "#0b4f8a"], ["#fde3cf", "#b33a00"]
_DARK = 0.65
_EMPTY = "#f3f4f6"
_BETWEEN_CELLS: dict[str, Any] = {
    "grid": True,
    "gridColor": "#ffffff",
    "tickBand": "extent",
    "ticks": False,
    "domain": False,
    "labelOverlap": False,
    # the renderer needs seconds to cut many long names to a width in pixels
    "labelExpr": "truncate(datum.label, 25, 'center')",
}


@dataclass(frozen=True, slots=True)
class Matrix:
    """Counts of (C, C) and the names of the classes, in the same order."""

    counts: Counts
    labels: Sequence[str]


def draw(matrix: Matrix, heading: Heading) -> Any:  # noqa: ANN401  (altair's chart)
    """The plot; of more than `MOST_CLASSES` classes only the most confused."""
    places = shown_classes(matrix.counts)
    names = [matrix.labels[place] for place in places]
    rows = cell_rows(matrix, places)
    layers = [_cells(rows, names, is_right=True)]
    if any(not row["right"] for row in rows):
        layers.append(_cells(rows, names, is_right=False))
    if counts_fit(rows, _cell_px(len(names))):
        layers.append(_numbers(rows, names))
    side = _cell_px(len(names)) * len(names)
    view = alt.ViewConfig(fill=_EMPTY, stroke=None)
    chart = alt.layer(*layers).resolve_scale(color="independent")
    chart = chart.properties(width=side, height=side, view=view)
    return finished(chart, _told(heading, matrix, len(places)))


def _told(heading: Heading, matrix: Matrix, shown: int) -> Heading:
    if shown == len(matrix.labels):
        return heading
    return heading.and_line(
        f"the {shown} most confused of {len(matrix.labels)} classes; "
        "shares are of all photos of a class"
    )


def shown_classes(counts: Counts) -> list[int]:
    """Places of the classes to draw, in the order of the vocabulary.

    They are those of the most frequent confusions: who is taken for whom is drawn together.
    """
    errors = counts - np.diag(np.diag(counts))
    # so many pairs name `MOST_CLASSES` different classes, whatever they are
    most_frequent = np.argsort(-errors, axis=None, kind="stable")[: MOST_CLASSES**2].tolist()
    named = [
        place for pair in most_frequent if errors.flat[pair] for place in divmod(pair, len(counts))
    ]
    return sorted(list(dict.fromkeys([*named, *range(len(counts))]))[:MOST_CLASSES])


def cell_rows(matrix: Matrix, places: Sequence[int]) -> list[dict[str, Any]]:
    """One row for each cell that is not empty; ``share`` is of the actual class's photos."""
    counts = matrix.counts
    totals = counts.sum(axis=1)
    highest = _highest_shares(counts)
    return [
        {
            "actual": matrix.labels[row],
            "predicted": matrix.labels[column],
            "count": int(counts[row, column]),
            "share": float(counts[row, column] / totals[row]),
            "right": row == column,
            "dark": bool(counts[row, column] / totals[row] > _DARK * highest[row == column]),
        }
        for row in places
        for column in places
        if counts[row, column]
    ]


def _highest_shares(counts: Counts) -> dict[bool, float]:
    """The ends of both colour scales: by whether a cell is right."""
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    wrong = counts / totals * ~np.eye(len(counts), dtype=bool)
    return {True: 1.0, False: float(wrong.max()) or 1.0}


def _cells(rows: Sequence[dict[str, Any]], names: Sequence[str], *, is_right: bool) -> Any:  # noqa: ANN401
    chosen = [row for row in rows if row["right"] == is_right]
    end = 1.0 if is_right else max((row["share"] for row in chosen), default=1.0)
    word = "right" if is_right else "wrong"
    colour = alt.Color(
        "share:Q",
        scale=alt.Scale(domain=[0, end], range=_RIGHT if is_right else _WRONG),
        legend=alt.Legend(
            title=f"{word}, share of the class",
            format=".2~p",
            gradientLength=min(120, _cell_px(len(names)) * len(names) // 3),
            tickCount=3,
            orient="right",
        ),
    )
    return (
        alt.Chart(inline(chosen))
        .mark_rect(stroke="white", strokeWidth=1)
        .encode(x=_predicted(names), y=_actual(names), color=colour)
    )


def _numbers(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> Any:  # noqa: ANN401
    size = _font_px(_cell_px(len(names)))
    return (
        alt.Chart(inline(rows))
        .mark_text(fontSize=size)
        .encode(
            x=_predicted(names),
            y=_actual(names),
            text="count:Q",
            color=alt.Color("dark:N", legend=None, scale=_text_colours()),
        )
    )


def counts_fit(rows: Sequence[dict[str, Any]], cell_px: int) -> bool:
    """Whether the widest count has room in a cell."""
    digits = max((len(str(row["count"])) for row in rows), default=1)
    return digits * _DIGIT_SHARE * _font_px(cell_px) < cell_px


def _font_px(cell_px: int) -> float:
    return min(_LARGEST_FONT_PX, max(_SMALLEST_FONT_PX, cell_px * _FONT_SHARE))


def _text_colours() -> alt.Scale:
    return alt.Scale(domain=[False, True], range=["#1d2129", "#ffffff"])


def _predicted(names: Sequence[str]) -> alt.X:
    short = max(map(len, names), default=0) <= _LONGEST_LEVEL_LABEL
    is_level = short and len(names) <= _MOST_LEVEL_LABELS
    axis = alt.Axis(
        title="predicted class",
        labelAngle=0 if is_level else -50,
        labelLimit=150,
        **_BETWEEN_CELLS,
    )
    return alt.X("predicted:N", sort=None, scale=_bands(names), axis=axis)


def _actual(names: Sequence[str]) -> alt.Y:
    axis = alt.Axis(title="actual class", labelLimit=170, **_BETWEEN_CELLS)
    return alt.Y("actual:N", sort=None, scale=_bands(names), axis=axis)


def _bands(names: Sequence[str]) -> alt.Scale:
    return alt.Scale(domain=list(names), paddingInner=0, paddingOuter=0)


def _cell_px(classes: int) -> int:
    return max(_SMALLEST_CELL_PX, min(_LARGEST_CELL_PX, _SIDE_PX // max(classes, 1)))
