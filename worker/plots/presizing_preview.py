"""Photos presized in three ways: what is sampled, the pictures, and a detail of each enlarged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from worker.plots.theme import (
    BLUE,
    INK,
    ORANGE,
    PAPER,
    SOFT_INK,
    Heading,
    finished,
    inline,
    shortened,
)

COLUMNS = ("The photo", "Presized once", "As fastai presizes", "Step by step")
_TILE_PX, _GAP_PX, _LINE_PX, _LINES = 224, 16, 16, 3
_TITLE_PX, _CAPTION_PX, _ROW_GAP_PX = 22, _LINES * _LINE_PX + 14, 26
_HEAD_PX = 24
_DETAIL_PX = _TITLE_PX + _TILE_PX + _CAPTION_PX
_ROW_PX = _DETAIL_PX + _TILE_PX + _ROW_GAP_PX
_LONGEST_TITLE, _LONGEST_LINE = 110, 44
_CASING_PX = 3.5

Kind = Literal["single", "fastai", "frame"]
_STYLES: Mapping[Kind, tuple[str, list[int]]] = {
    "single": (BLUE, [1, 0]),
    "fastai": (ORANGE, [6, 3]),
    "frame": (INK, [1, 0]),
}
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """Corners of a region of a tile, in shares of its side."""

    points: Points
    kind: Kind


@dataclass(frozen=True, slots=True)
class Tile:
    """A square picture as a data URL, with regions drawn upon it."""

    url: str
    outlines: tuple[Outline, ...] = ()
    is_smooth: bool = False
    """Whether its pixels are blended where they are enlarged."""


@dataclass(frozen=True, slots=True)
class Column:
    """A picture, up to three lines about it, and its detail."""

    tile: Tile
    lines: tuple[str, ...]
    detail: Tile


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """One photo: itself, then each way."""

    title: str
    columns: tuple[Column, ...]


def draw(rows: Sequence[PreviewRow], heading: Heading) -> Any:  # noqa: ANN401  (altair's chart)
    """The plot of all photos, one below the other."""
    columns, titles = _columns(rows), _titles(rows)
    layers = [
        *(_pictures(columns, smooth=smooth) for smooth in (False, True)),
        *_outlines(columns),
        _words(titles, fontWeight="bold", fontSize=13, color=INK),
        _words(_lines(columns, first=True), fontWeight="bold", fontSize=12, color=INK),
        _words(_lines(columns, first=False), fontSize=12, color=SOFT_INK),
    ]
    chart = alt.layer(*layers).properties(
        width=len(COLUMNS) * (_TILE_PX + _GAP_PX) - _GAP_PX,
        height=_HEAD_PX + len(rows) * _ROW_PX - _ROW_GAP_PX,
    )
    return finished(chart, heading)


Placed = tuple[float, float, Column]


def _columns(rows: Sequence[PreviewRow]) -> list[Placed]:
    """Every column with the left and the top of its picture."""
    return [
        (place * (_TILE_PX + _GAP_PX), _HEAD_PX + number * _ROW_PX + _TITLE_PX, column)
        for number, row in enumerate(rows)
        for place, column in enumerate(row.columns)
    ]


def _titles(rows: Sequence[PreviewRow]) -> list[dict[str, Any]]:
    heads = [
        {"x": place * (_TILE_PX + _GAP_PX), "y": 0, "text": name}
        for place, name in enumerate(COLUMNS)
    ]
    return heads + [
        {"x": 0, "y": _HEAD_PX + number * _ROW_PX, "text": shortened(row.title, _LONGEST_TITLE)}
        for number, row in enumerate(rows)
    ]


def _lines(columns: Sequence[Placed], *, first: bool) -> list[dict[str, Any]]:
    return [
        {
            "x": x,
            "y": y + _TILE_PX + 6 + number * _LINE_PX,
            "text": shortened(line, _LONGEST_LINE),
        }
        for x, y, column in columns
        for number, line in enumerate(column.lines[:_LINES])
        if (number == 0) == first
    ]


def _words(rows: Sequence[dict[str, Any]], **mark: Any) -> Any:  # noqa: ANN401
    text = alt.Chart(inline(rows)).mark_text(align="left", baseline="top", **mark)
    return text.encode(x=_at("x"), y=_at("y"), text="text:N")


def _pictures(columns: Sequence[Placed], *, smooth: bool) -> Any:  # noqa: ANN401
    """Photos smoothly scaled, or pictures and details pixel for pixel."""
    below = _DETAIL_PX - _TITLE_PX
    tiles = [(x, y, column.tile) for x, y, column in columns]
    tiles += [(x, y + below, column.detail) for x, y, column in columns]
    rows = [{"x": x, "y": y, "url": tile.url} for x, y, tile in tiles if tile.is_smooth == smooth]
    # described, each picture would be in the SVG twice
    image = alt.Chart(inline(rows)).mark_image(
        width=_TILE_PX, height=_TILE_PX, align="left", baseline="top", smooth=smooth, aria=False
    )
    return image.encode(x=_at("x"), y=_at("y"), url="url:N")


def _outlines(columns: Sequence[Placed]) -> list[Any]:
    """Closed lines, each upon a wider one in the colour of paper."""
    layers = []
    for kind, (colour, dash) in _STYLES.items():
        rows = [
            {"x": x + _TILE_PX * right, "y": y + _TILE_PX * down, "order": order, "key": key}
            for key, (x, y, column) in enumerate(columns)
            for outline in column.tile.outlines
            if outline.kind == kind
            for order, (right, down) in enumerate((*outline.points, outline.points[0]))
        ]
        casing = _polygons(rows, color=PAPER, strokeWidth=_CASING_PX)
        layers += [casing, _polygons(rows, color=colour, strokeWidth=1.8, strokeDash=dash)]
    return layers


def _polygons(rows: Sequence[dict[str, Any]], **mark: Any) -> Any:  # noqa: ANN401
    line = alt.Chart(inline(rows)).mark_line(strokeJoin="round", **mark)
    return line.encode(x=_at("x"), y=_at("y"), order="order:Q", detail="key:N")


def _at(field: str) -> Any:  # noqa: ANN401
    """A place in pixels: no scale, no axis."""
    channel = alt.X if field == "x" else alt.Y
    return channel(f"{field}:Q", scale=None, axis=None)
