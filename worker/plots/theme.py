"""How every plot looks: one palette, one font, one frame.

Colours are those of Okabe & Ito 2008 (Color Universal Design), which people with any kind of
colour vision tell apart; they are dark enough for a white page.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

BLUE, SKY, ORANGE, VERMILLION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
GREEN, PURPLE = "#009E73", "#CC79A7"
INK, SOFT_INK, FAINT_INK, GRID, PAPER = "#1d2129", "#565d68", "#9aa1ab", "#e9ebee", "#ffffff"

FONT = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first is bundled with the renderer, the others have its widths."""

WIDTH_PX = 640
_LONGEST_TITLE, _LONGEST_LINE = 70, 110

Rows = Sequence[dict[str, Any]]

_CONFIG: dict[str, Any] = {
    "background": PAPER,
    "font": FONT,
    "padding": 18,
    "view": {"stroke": None},
    "axis": {
        "labelColor": SOFT_INK,
        "labelFontSize": 11,
        "titleColor": INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 10,
        "domainColor": FAINT_INK,
        "tickColor": FAINT_INK,
        "gridColor": GRID,
    },
    "title": {
        "anchor": "start",
        "color": INK,
        "fontSize": 17,
        "subtitleColor": SOFT_INK,
        "subtitleFontSize": 12,
        "subtitlePadding": 6,
        "offset": 16,
    },
    "legend": {
        "labelColor": INK,
        "labelFontSize": 11,
        "titleColor": SOFT_INK,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "labelLimit": 260,
        "symbolType": "stroke",
        "symbolOpacity": 1,
        "symbolStrokeWidth": 3,
    },
    "concat": {"spacing": 18},
    "text": {"font": FONT, "fontSize": 11},
}


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above a plot; lines that are too long are cut."""

    title: str
    lines: tuple[str, ...] = ()

    def and_line(self, line: str) -> "Heading":
        """The same heading with one more line."""
        return Heading(self.title, (*self.lines, line))


@dataclass(frozen=True, slots=True)
class Series:
    """Lines of one plot that come from different columns, named in one legend in a corner."""

    names: tuple[str, ...]
    colours: tuple[str, ...]
    corner: Literal["top-left", "top-right"]

    def without_last(self) -> "Series":
        """The same without its last line."""
        return Series(self.names[:-1], self.colours[:-1], self.corner)

    def named(self, place: int, chart: Any) -> Any:  # noqa: ANN401
        """The chart in the colour of this series."""
        legend = alt.Legend(title=None, orient=self.corner, offset=6)
        scale = alt.Scale(domain=list(self.names), range=list(self.colours))
        colour = alt.Color("series:N", scale=scale, legend=legend)
        return chart.transform_calculate(series=f"'{self.names[place]}'").encode(color=colour)


def finished(chart: Any, heading: Heading) -> Any:  # noqa: ANN401  (any of altair's charts)
    """The chart with its heading and the look of all plots."""
    title = alt.TitleParams(
        text=shortened(heading.title, _LONGEST_TITLE),
        subtitle=[shortened(line, _LONGEST_LINE) for line in heading.lines],
    )
    return chart.properties(title=title).configure(**_CONFIG)


def inline(rows: Rows) -> alt.InlineData:
    """The rows as data that the specification carries with it; never without a row."""
    return alt.InlineData(values=list(rows) or [{}])


def shortened(text: str, most: int) -> str:
    """The text in one line of at most so many characters, with an ellipsis where it was cut."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def decades(rates: Iterable[float]) -> list[float]:
    """The powers of ten from just below the smallest rate to just above the largest."""
    logs = [math.log10(rate) for rate in rates] or [-1.0, 0.0]
    return [10.0**power for power in range(math.floor(min(logs)), math.ceil(max(logs)) + 1)]


def rate_axis(*, title: str | None, values: Sequence[float]) -> alt.Axis:
    """An axis of learning rates with marks such as ``1e-3``; bare without a title."""
    # the renderer writes 1e+0
    plain = "replace(datum.label, '+', '')"
    return alt.Axis(
        title=title, values=values, format=".0e", labelExpr=plain, labels=title is not None
    )


def as_rate(lr: float) -> str:
    """A learning rate with two digits, such as ``1.9e-3``."""
    mantissa, _, exponent = f"{lr:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"
