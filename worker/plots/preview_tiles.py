"""From the files and numbers of a presizing preview to the tiles of its plot."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from ml.theory.presize_ways import Way
from worker.plots.presizing_preview import Column, Outline, PreviewRow, Tile
from worker.plots.theme import GRID

PHOTO, ORIGINAL = "photo", "original"
PHOTO_PX = 448
"""Longest side of the photo's own picture, and the most that a tile shows."""

_MOST_BEYOND = 0.5
_APART = 0.03


def picture_file(folder: Path, number: int, name: str) -> Path:
    """Where one picture of the ``number``-th photo lies: of a way, `ORIGINAL` or `PHOTO`."""
    return folder / f"{number}-{name}.png"


def preview_rows(folder: Path, images: Sequence[Mapping[str, Any]]) -> list[PreviewRow]:
    """One row for each photo that was compared.

    Raises:
        FileNotFoundError: a picture was deleted.
    """
    return [_row(folder, number, image) for number, image in enumerate(images)]


def mean_line(means: Mapping[Way, Mapping[str, Any]]) -> str:
    """The ways' mean numbers, in words."""
    names = {"single": "once", "fastai": "as fastai", "step_by_step": "step by step"}
    parts = [
        f"{names[way]} {_decibels(means[way])}, {_percent(means[way]['energy_kept'])}"
        for way in get_args(Way)
    ]
    return f"mean PSNR and energy kept: {' · '.join(parts)}"


def _row(folder: Path, number: int, image: Mapping[str, Any]) -> PreviewRow:
    label = "" if image["label"] is None else f" · {image['label']}"
    ways = {way: image["ways"][way] for way in get_args(Way)}
    side = image["detail_px"]
    columns = [
        _column(picture_file(folder, number, way), way_numbers, side, _way_lines(way_numbers))
        for way, way_numbers in ways.items()
    ]
    original = _opened(picture_file(folder, number, ORIGINAL))
    first = Column(
        tile=_photo_tile(picture_file(folder, number, PHOTO), image),
        lines=_photo_lines(image),
        detail=_detail(original, ways["single"]["detail"], side),
    )
    return PreviewRow(title=f"{image['path']}{label}", columns=(first, *columns))


def _column(file: Path, numbers: Mapping[str, Any], side: int, lines: tuple[str, ...]) -> Column:
    picture = _opened(file)
    box = (*numbers["detail"], *(place + side for place in numbers["detail"]))
    left, top, right, bottom = (edge / picture.width for edge in box)
    frame = Outline(((left, top), (right, top), (right, bottom), (left, bottom)), "frame")
    return Column(
        tile=Tile(_as_url(_at_most(picture)), (frame,), PHOTO_PX % picture.width != 0),
        lines=lines,
        detail=_detail(picture, numbers["detail"], side),
    )


def _detail(picture: Image.Image, corner: Sequence[int], side: int) -> Tile:
    left, top = corner
    return Tile(_as_url(picture.crop((left, top, left + side, top + side))))


# --- the photo with the regions that are sampled --------------------------------------------


def _photo_tile(file: Path, image: Mapping[str, Any]) -> Tile:
    """The photo on a square that the sampled regions fit on, too."""
    size = np.array([image["width"], image["height"]], float)
    drawn = {way: np.array(image["ways"][way]["outline"]) / size for way in ("single", "fastai")}
    within = {
        way: np.clip(points, -_MOST_BEYOND, 1 + _MOST_BEYOND) * size
        for way, points in drawn.items()
    }
    every = np.concatenate([np.zeros((1, 2)), size[None], *within.values()])
    low, high = every.min(axis=0), every.max(axis=0)
    side = (high - low).max() * 1.02
    corner = (low + high - side) / 2
    outlines = [Outline(_shares(within["single"], corner, side), "single")]
    if np.abs(within["fastai"] - within["single"]).max() > _APART * size.min():
        outlines.append(Outline(_shares(within["fastai"], corner, side), "fastai"))
    scale = PHOTO_PX / side
    canvas = Image.new("RGB", (PHOTO_PX, PHOTO_PX), GRID)
    width, height = (max(1, round(length * scale)) for length in size)
    photo = _opened(file).resize((width, height), Image.Resampling.LANCZOS)
    canvas.paste(photo, (round(-corner[0] * scale), round(-corner[1] * scale)))
    return Tile(_as_url(canvas), tuple(outlines), is_smooth=True)


def _shares(points: Any, corner: Any, side: float) -> tuple[tuple[float, float], ...]:  # noqa: ANN401
    return tuple((x, y) for x, y in ((points - corner) / side).tolist())


def _opened(file: Path) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def _at_most(picture: Image.Image) -> Image.Image:
    if picture.width <= PHOTO_PX:
        return picture
    return picture.resize((PHOTO_PX, PHOTO_PX), Image.Resampling.LANCZOS)


def _as_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# --- words ----------------------------------------------------------------------------------


def _photo_lines(image: Mapping[str, Any]) -> tuple[str, ...]:
    draws = image["draws"]
    across, down = draws["warp"]
    share = draws["crop"][2] * draws["crop"][3] / min(image["width"], image["height"]) ** 2
    mirrored = ", mirrored" if draws["flip"] else ""
    return (
        f"{image['width']} × {image['height']} px",
        f"crop {share:.0%}, rotated {draws['rotate_deg']:.1f}°{mirrored}".replace("-", "−"),
        f"zoom {draws['zoom']:.2f}, warp {across:.2f}, {down:.2f}".replace("-", "−"),
    )


def _way_lines(numbers: Mapping[str, Any]) -> tuple[str, ...]:
    count = numbers["interpolations"]
    return (
        f"PSNR {_decibels(numbers)}",
        f"energy {_percent(numbers['energy_kept'])} · {count} interpolation{'s'[: count != 1]}",
        f"{numbers['invented_pixels']:.1%} invented · {numbers['ms_per_image']:.1f} ms",
    )


def _decibels(numbers: Mapping[str, Any]) -> str:
    value = numbers["psnr_db"]
    return "not finite" if value is None else f"{value:.1f} dB"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"
