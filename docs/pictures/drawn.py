"""Pictures of answers that are no plots of the service, in the look of its plots."""

import base64
from collections.abc import Sequence
from typing import Any

import altair as alt

from jobs.sources import sample
from worker.plots.rendering import render
from worker.plots.theme import (
    BLUE,
    INK,
    SOFT_INK,
    VERMILLION,
    Heading,
    finished,
    inline,
)

Answers = Sequence[dict[str, Any]]

ANY_LOSS = {"activations": [[step / 10, 0] for step in range(-60, 61)], "targets": [0] * 121}
"""A request for the losses of all probabilities."""

_TILE_PX, _GAP_PX, _PHOTO_PX, _COLUMNS = 200, 20, 150, 3
_WIDTH_PX, _HEIGHT_PX = 560, 340
_LABEL_P, _LABEL = 0.13, 0.25
"""What is written beside a dot takes so much of both axes."""


def chosen(items: Answers) -> list[dict[str, Any]]:
    """For each class the first photo in landscape format that shows what its name says."""
    wrong = {photo.name for photo in sample.sample_plan() if photo.is_mislabelled}
    fit = [
        item
        for item in sorted(items, key=lambda item: str(item["path"]))
        if item["path"] not in wrong and item["width"] > item["height"]
    ]
    first = {item["label"]: item for item in reversed(fit)}
    return [first[label] for label in sorted(first)]


def labels(photos: Answers) -> dict[str, bytes]:
    """Photos with their file names and the labels that a rule read from these."""
    rows = [
        {
            "x": place % _COLUMNS * (_TILE_PX + _GAP_PX),
            "y": place // _COLUMNS * (_PHOTO_PX + 60),
            "photo": f"data:image/jpeg;base64,{base64.b64encode(photo['photo']).decode()}",
            "name": photo["path"],
            "label": f"→ {photo['label']}",
        }
        for place, photo in enumerate(photos)
    ]
    tiles = alt.Chart(inline(rows)).encode(
        x=alt.X("x:Q", scale=None, axis=None), y=alt.Y("y:Q", scale=None, axis=None)
    )
    text: dict[str, Any] = {"align": "left", "baseline": "top", "fontSize": 13}
    layers = [
        tiles.mark_image(width=_TILE_PX, height=_PHOTO_PX, align="left", baseline="top").encode(
            url="photo:N"
        ),
        tiles.mark_text(**text, yOffset=_PHOTO_PX + 8, color=SOFT_INK).encode(text="name:N"),
        tiles.mark_text(**text, yOffset=_PHOTO_PX + 25, color=BLUE, fontWeight="bold").encode(
            text="label:N"
        ),
    ]
    chart = alt.layer(*layers).properties(
        width=_COLUMNS * (_TILE_PX + _GAP_PX) - _GAP_PX,
        height=(len(rows) - 1) // _COLUMNS * (_PHOTO_PX + 60) + _PHOTO_PX + 45,
    )
    return render(finished(chart, Heading("Labels", (r"from file names, by ^(.+)_\d+\.jpg$",))))


def cross_entropy(samples: Answers, any_loss: Answers) -> dict[str, bytes]:
    """The loss of all probabilities beside the line of 1 - p, and the samples of an answer."""
    line = [{"p": each["p_target"], "loss": each["cross_entropy"]} for each in any_loss]
    straight = [{"p": each["p_target"], "loss": 1 - each["p_target"]} for each in any_loss]
    axes: dict[str, Any] = {
        "x": alt.X("p:Q", title="p, the probability of the target", scale=_scale(1)),
        "y": alt.Y(
            "loss:Q", title="loss of one photo", scale=_scale(6), axis=alt.Axis(tickCount=6)
        ),
    }
    dots = alt.Chart(inline(_dots(samples))).encode(**axes)
    named: dict[str, Any] = {"align": "left", "baseline": "bottom", "fontSize": 13}
    layers = [
        _at(0.35, 1 - 0.35, "1 − p").mark_text(**named, color=VERMILLION, dx=-50, dy=22),
        _at(0.35, 1.05, "−ln p").mark_text(**named, color=BLUE, dx=10, dy=-6),
        alt.Chart(inline(straight)).mark_line(color=VERMILLION, strokeDash=[5, 4]),
        alt.Chart(inline(line)).mark_line(color=BLUE, strokeWidth=2.2, clip=True),
        dots.mark_circle(color=INK, size=60, opacity=1),
        *(
            dots.transform_filter(alt.datum.raised == raised)
            .mark_text(align="left", dx=9, dy=-25 if raised else -7, color=INK)
            .encode(text="name:N")
            for raised in (False, True)
        ),
    ]
    layered = [layer.encode(**axes) for layer in layers]
    chart = alt.layer(*layered).properties(width=_WIDTH_PX, height=_HEIGHT_PX)
    heading = Heading("Cross-entropy", ("of two classes; the photos are those of the example",))
    return render(finished(chart, heading))


def _dots(samples: Answers) -> list[dict[str, Any]]:
    """The samples with what is written beside them, raised where it would lie on its neighbour."""
    rows: list[dict[str, Any]] = []
    for each in sorted(samples, key=lambda sample: float(sample["p_target"])):
        p, loss = each["p_target"], each["cross_entropy"]
        is_near = bool(rows) and p - rows[-1]["p"] < _LABEL_P and rows[-1]["loss"] - loss < _LABEL
        raised = is_near and not rows[-1]["raised"]
        name = f"photo {each['index'] + 1}: {loss:.2f}"
        rows.append({"p": p, "loss": loss, "name": name, "raised": raised})
    return rows


def _at(p: float, loss: float, text: str) -> Any:  # noqa: ANN401  (altair's chart)
    return alt.Chart(inline([{"p": p, "loss": loss, "text": text}])).encode(text="text:N")


def _scale(end: float) -> alt.Scale:
    return alt.Scale(domain=[0, end], nice=False)
