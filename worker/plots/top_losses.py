"""The photos with the largest losses, as pictures: what they are and what they were taken for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from worker.plots.theme import (
    BLUE,
    GRID,
    INK,
    SOFT_INK,
    VERMILLION,
    Heading,
    finished,
    inline,
    shortened,
)

MOST = 9
_COLUMNS = 3
_TILE_PX, _GAP_PX, _LINE_PX, _LINES = 200, 20, 16, 3
_TEXT_PX = _LINES * _LINE_PX + 22
_TINY = 1e-3
_LONGEST_LABEL = 40


@dataclass(frozen=True, slots=True)
class Worst:
    """One photo of the ledger; ``picture_url`` is a data URL, None where there is no thumbnail."""

    label: str
    predicted: str
    loss: float | None
    p_label: float | None
    picture_url: str | None


def draw(photos: Sequence[Worst], heading: Heading) -> Any:  # noqa: ANN401  (altair's chart)
    """The plot of at most `MOST` photos, worst first, row by row."""
    rows = tile_rows(photos[:MOST])
    columns = min(_COLUMNS, max(len(rows), 1))
    height = math.ceil(max(len(rows), 1) / _COLUMNS) * (_TILE_PX + _TEXT_PX)
    width = columns * (_TILE_PX + _GAP_PX) - _GAP_PX
    layers = [*_pictures(rows), *_captions(rows)]
    return finished(alt.layer(*layers).properties(width=width, height=height), heading)


def tile_rows(photos: Sequence[Worst]) -> list[dict[str, Any]]:
    """One row for each photo: its place in pixels, its picture and its three lines of text."""
    return [
        {
            "x": (place % _COLUMNS) * (_TILE_PX + _GAP_PX),
            "y": (place // _COLUMNS) * (_TILE_PX + _TEXT_PX),
            "url": photo.picture_url,
            "label": shortened(photo.label, _LONGEST_LABEL),
            "predicted": f"→ {shortened(photo.predicted, _LONGEST_LABEL)}",
            "right": photo.label == photo.predicted,
            "numbers": f"loss {_as_loss(photo.loss)} · p {_as_probability(photo.p_label)}",
        }
        for place, photo in enumerate(photos)
    ]


def _pictures(rows: Sequence[dict[str, Any]]) -> list[Any]:
    half = _TILE_PX / 2
    with_picture = [row for row in rows if row["url"] is not None]
    without = [row for row in rows if row["url"] is None]
    frames = alt.Chart(inline(rows)).mark_square(
        size=_TILE_PX**2, color=GRID, opacity=1, xOffset=half, yOffset=half
    )
    layers = [frames.encode(x=_at("x"), y=_at("y"))]
    if with_picture:
        picture = alt.Chart(inline(with_picture)).mark_image(
            width=_TILE_PX, height=_TILE_PX, align="left", baseline="top"
        )
        layers.append(picture.encode(x=_at("x"), y=_at("y"), url="url:N"))
    if without:
        note = alt.Chart(inline(without)).mark_text(
            text="no thumbnail", color=SOFT_INK, xOffset=half, yOffset=half
        )
        layers.append(note.encode(x=_at("x"), y=_at("y")))
    return layers


def _captions(rows: Sequence[dict[str, Any]]) -> list[Any]:
    colour = alt.Color(
        "right:N", legend=None, scale=alt.Scale(domain=[False, True], range=[VERMILLION, BLUE])
    )
    label = _line(rows, 0, "label", fontWeight="bold", color=INK, fontSize=13)
    predicted = _line(rows, 1, "predicted", fontSize=13).encode(color=colour)
    return [label, predicted, _line(rows, 2, "numbers", color=SOFT_INK, fontSize=12)]


def _line(rows: Sequence[dict[str, Any]], number: int, field: str, **mark: Any) -> Any:  # noqa: ANN401
    text = alt.Chart(inline(rows)).mark_text(
        align="left",
        baseline="top",
        limit=_TILE_PX,
        yOffset=_TILE_PX + 7 + number * _LINE_PX,
        **mark,
    )
    return text.encode(x=_at("x"), y=_at("y"), text=f"{field}:N")


def _at(field: str) -> Any:  # noqa: ANN401
    """A place in pixels: no scale, no axis."""
    channel = alt.X if field == "x" else alt.Y
    return channel(f"{field}:Q", scale=None, axis=None)


def _as_loss(loss: float | None) -> str:
    return "not finite" if loss is None or not math.isfinite(loss) else f"{loss:.2f}"


def _as_probability(p: float | None) -> str:
    if p is None or not math.isfinite(p):
        return "unknown"
    return f"{p:.3f}" if p >= _TINY or p == 0 else f"{p:.0e}".replace("e-0", "e-")
