"""The tiles of a presizing preview, whatever was compared."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.worker.test_plots import LONG, MARKUP, texts_of
from worker.plots.presizing_preview import PreviewRow, Tile, draw
from worker.plots.preview_tiles import (
    ORIGINAL,
    PHOTO,
    PHOTO_PX,
    mean_line,
    picture_file,
    preview_rows,
)
from worker.plots.rendering import render
from worker.plots.theme import Heading

WAYS = ("single", "fastai", "step_by_step")
SQUARE = [[10, 0], [50, 0], [50, 40], [10, 40]]


def image_of(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  (any JSON)
    """The numbers of a photo of 60 x 40 px; ``ways`` are changed all alike."""
    way = {
        "interpolations": 2,
        "energy_kept": 0.5,
        "psnr_db": 31.25,
        "invented_pixels": 0.125,
        "ms_per_image": 1.5,
        "outline": SQUARE,
        "detail": [4, 8],
        **changes.pop("way", {}),
    }
    return {
        "path": "a.jpg",
        "label": "cat",
        "width": 60,
        "height": 40,
        "draws": {"crop": [10, 0, 40, 40], "flip": True, "rotate_deg": -30.0, "zoom": 1.2,
                  "warp": [-0.2, 0.2]},
        "detail_px": 16,
        "ways": {name: way for name in WAYS} | changes.pop("ways", {}),
        **changes,
    }  # fmt: skip


def row_of(folder: Path, image: dict[str, Any], *, size: int = 48) -> PreviewRow:
    """The row of a photo whose pictures have this size and noise of their own."""
    noise = np.random.default_rng(5)
    for name in (PHOTO, ORIGINAL, *WAYS):
        pixels = noise.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(picture_file(folder, 0, name))
    (row,) = preview_rows(folder, [image])
    return row


def opened(tile: Tile) -> Image.Image:
    """The picture of a tile."""
    return Image.open(io.BytesIO(base64.b64decode(tile.url.partition(",")[2])))


def test_a_row_has_the_photo_and_each_way_with_its_detail(tmp_path: Path) -> None:
    row = row_of(tmp_path, image_of())

    assert row.title == "a.jpg · cat"
    assert row.columns[0].lines == (
        "60 × 40 px",
        "crop 100%, rotated −30.0°, mirrored",
        "zoom 1.20, warp −0.20, 0.20",
    )
    assert row.columns[1].lines == (
        "PSNR 31.2 dB",
        "energy 50% · 2 interpolations",
        "12.5% invented · 1.5 ms",
    )
    names = (ORIGINAL, *WAYS)
    for name, column in zip(names, row.columns, strict=True):
        with Image.open(picture_file(tmp_path, 0, name)) as picture:
            expected = np.asarray(picture.crop((4, 8, 20, 24)))
        assert np.array_equal(np.asarray(opened(column.detail)), expected)
    frame = row.columns[1].tile.outlines[0]
    assert frame.points[0] == pytest.approx((4 / 48, 8 / 48))
    assert frame.points[2] == pytest.approx((20 / 48, 24 / 48))


@pytest.mark.parametrize(
    ("size", "shown", "is_smooth"), [(48, 48, True), (224, 224, False), (640, PHOTO_PX, True)]
)
def test_a_picture_is_shown_pixel_for_pixel_where_that_fits(
    tmp_path: Path, size: int, shown: int, is_smooth: bool
) -> None:
    tile = row_of(tmp_path, image_of(), size=size).columns[1].tile

    assert (opened(tile).size, tile.is_smooth) == ((shown, shown), is_smooth)


def test_the_photo_is_as_large_as_the_region_beyond_it_allows(tmp_path: Path) -> None:
    beyond = {"outline": [[-1e6, 0], [1e9, 0], [50, 1e6], [10, 40]]}

    row = row_of(tmp_path, image_of(way=beyond))

    (outline,) = row.columns[0].tile.outlines
    assert all(0 <= share <= 1 for point in outline.points for share in point)
    assert opened(row.columns[0].tile).size == (PHOTO_PX, PHOTO_PX)


def test_what_has_no_value_is_said_in_words(tmp_path: Path) -> None:
    nothing = {"energy_kept": None, "psnr_db": None, "interpolations": 1}

    lines = row_of(tmp_path, image_of(way=nothing)).columns[2].lines

    assert lines[:2] == ("PSNR not finite", "energy unknown · 1 interpolation")
    means = {name: nothing for name in WAYS}
    assert mean_line(means).endswith("step by step not finite, unknown")  # type: ignore[arg-type]  # names of ways


def test_names_are_shortened_and_are_never_markup(tmp_path: Path) -> None:
    rows = [row_of(tmp_path, image_of(path=path, label=None)) for path in (MARKUP, LONG)]

    texts = texts_of(render(draw(rows, Heading("A title")))["svg"])

    assert any("<script>alert(1)</script>" in text for text in texts)
    assert all(len(text) <= 110 for text in texts)
    assert sum(text.endswith("…") for text in texts) == 1


def test_a_large_picture_is_packed_and_keeps_its_pixels(tmp_path: Path) -> None:
    row = row_of(tmp_path, image_of(), size=224)

    files = render(draw([row], Heading("A title")))

    with Image.open(io.BytesIO(files["png"])) as image:
        assert image.mode == "RGB"
        pixels = np.asarray(image)
    with Image.open(picture_file(tmp_path, 0, "single")) as picture:
        shown = np.asarray(picture).repeat(2, axis=0).repeat(2, axis=1)
    # found by its lowest row, below the frame: every pixel of it is there twice
    assert _holds(pixels, shown[-2:])
    json.loads(files["json"])


def _holds(pixels: Any, strip: Any) -> bool:  # noqa: ANN401  (arrays)
    height, width = strip.shape[:2]
    starts = np.argwhere((pixels[:, :, :] == strip[0, 0]).all(axis=-1))
    return any(
        np.array_equal(pixels[top : top + height, left : left + width], strip)
        for top, left in starts
    )
