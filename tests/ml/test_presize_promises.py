"""What `single` presizing promises of a batch, recomputed step by step in double precision.

Pixels are looked up by hand: no matrix, no tensor library and no table of the code under test.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from math import cos, exp, floor, log, radians, sin, sqrt
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own customary name

from ml.augment import (
    MEAN,
    STD,
    DrawKey,
    augmented_batch,
    centred_batch,
    drawn,
    lighting_tables,
    stream_of,
)
from ml.cache import Pixels
from ml.config import AugmentConfig
from ml.images import Rgb, presize
from ml.sampling import MAX_STRIDE
from ml.theory.presize_geometry import AugmentDraws, warp_targets

CPU = torch.device("cpu")
SIZE = 32
KEY = DrawKey(seed=6, pass_number=1)
STILL = AugmentConfig(min_scale=1, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0, flip=False)
STRONG = AugmentConfig(min_scale=0.4, max_rotate=40, max_zoom=1.6, max_lighting=0.4, max_warp=0.3)

Point = tuple[float, float]
Levels = NDArray[np.float64]
"""H x W x RGB, 0 to 255."""


class InMemory(Pixels):
    """Photos as they are, by position."""

    def __init__(self, *photos: Rgb) -> None:
        self._photos = photos

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def photo(self, position: int) -> Rgb:
        return self._photos[position]


def noise(height: int, width: int, seed: int = 0) -> Rgb:
    """A smooth picture with an edge of its own in every place."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def checkerboard(height: int, width: int, field_px: int) -> Rgb:
    """Black and white fields of so many pixels."""
    rows, columns = np.mgrid[:height, :width] // field_px
    levels = ((rows + columns) % 2 * 255).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=2)


def levels_of(images_BCHW: Tensor) -> NDArray[np.float64]:
    """The batch with its normalisation undone: B x H x W x RGB, 0 to 255."""
    images = images_BCHW.permute(0, 2, 3, 1).double().numpy()
    return np.asarray((images * np.array(STD) + np.array(MEAN)) * 255)


def changed(
    pixels: Pixels, positions: list[int], augment: AugmentConfig, *, key: DrawKey = KEY
) -> Levels:
    batch = augmented_batch(
        pixels, np.array(positions), size=SIZE, augment=augment, key=key, device=CPU
    )
    return levels_of(batch)


def centred(*photos: Rgb, size: int = SIZE) -> Levels:
    batch = centred_batch(InMemory(*photos), np.arange(len(photos)), size=size, device=CPU)
    return levels_of(batch)


def draws_of(photo: Rgb, augment: AugmentConfig, position: int = 0) -> AugmentDraws:
    return drawn(stream_of(KEY, position), augment, photo_wh=(photo.shape[1], photo.shape[0]))


# --- one sampling -----------------------------------------------------------------------------


@pytest.fixture
def samplings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of the output of every sampling and of every resize."""
    made: list[tuple[int, ...]] = []
    sample, resize, warp = F.grid_sample, Image.Image.resize, cv2.warpPerspective

    def grid_sample(*args: Any, **options: Any) -> Tensor:  # noqa: ANN401  # as torch has it
        out = sample(*args, **options)
        made.append(tuple(out.shape))
        return out

    def resized(self: Image.Image, size: tuple[int, int], *args: Any) -> Image.Image:  # noqa: ANN401  # as Pillow
        made.append(size)
        return resize(self, size, *args)

    def warped(*args: Any, **options: Any) -> Any:  # noqa: ANN401  # as OpenCV has it
        out = warp(*args, **options)
        made.append(out.shape)
        return out

    monkeypatch.setattr(F, "grid_sample", grid_sample)
    monkeypatch.setattr(cv2, "warpPerspective", warped)
    monkeypatch.setattr(Image.Image, "resize", resized)
    return made


def test_a_photo_of_a_batch_is_interpolated_once_straight_to_its_final_size(
    samplings: list[tuple[int, ...]],
) -> None:
    pixels = InMemory(noise(48, 64, 1), noise(64, 48, 2), noise(60, 60, 3))
    samplings.clear()

    changed(pixels, [0, 1, 2], STRONG)

    # each reading of a pixel, one or four of them, gives a picture of the final size
    assert {shape[:2] for shape in samplings} == {(SIZE, SIZE)}
    assert len(samplings) in {3, 6, 9, 12}

    samplings.clear()
    centred_batch(pixels, np.arange(3), size=SIZE, device=CPU)

    # what is scored is read in one call for each photo
    assert len(samplings) == 3
    assert {shape[0] * shape[1] * shape[3] for shape in samplings} == {3 * SIZE}
    assert {shape[2] // SIZE for shape in samplings} <= {1, 4}


@pytest.mark.parametrize("position", range(6))
def test_that_one_sampling_is_the_chain_of_all_changes(position: int) -> None:
    photo = noise(52, 68)
    augment = replace(STRONG, max_lighting=0)
    pixels = InMemory(*[photo] * 6)

    found = changed(pixels, [position], augment)[0]

    draws = draws_of(photo, augment, position)
    expected = _averaged(photo, partial(_place, draws))
    # one level of rounding, and where the photo is steep the rest of single precision
    assert found == pytest.approx(expected, abs=0.6)


def _averaged(photo: Rgb, place: Callable[[Point], Point]) -> Levels:
    """Every output pixel as the mean of four readings that stand for the area of the pixel.

    Their variance and that of one photo pixel make the variance of the output pixel, seen in the
    photo at the centre of the picture.
    """
    offset = sqrt(max(0.0, 1 - 1 / _area_factor(place)) / 12)
    around = list(product((-offset, offset), repeat=2))
    rows = [
        [
            np.mean([_read(photo, *place((u + 0.5 + x, v + 0.5 + y))) for x, y in around], axis=0)
            for u in range(SIZE)
        ]
        for v in range(SIZE)
    ]
    return np.array(rows)


def _area_factor(place: Callable[[Point], Point]) -> float:
    """Photo pixels in the area of the output pixel at the centre, by a small square around it."""
    middle, tiny = SIZE / 2, 1e-4
    ends = [(middle + x * tiny, middle + y * tiny) for x, y in ((-1, 0), (1, 0), (0, -1), (0, 1))]
    left, right, top, bottom = (np.array(place(end)) for end in ends)
    across, down = right - left, bottom - top
    return float(abs(across[0] * down[1] - across[1] * down[0])) / (2 * tiny) ** 2


def _place(draws: AugmentDraws, output_xy: Point) -> Point:
    """Where an output pixel reads, one change after the other, in continuous photo pixels."""
    x, y = (2 * place / SIZE - 1 for place in output_xy)
    # zoom: the point towards which it goes stays where it is
    centre_x, centre_y = (2 * fraction - 1 for fraction in draws.zoom_centre_xy)
    x, y = centre_x + (x - centre_x) / draws.zoom, centre_y + (y - centre_y) / draws.zoom
    # rotation: clockwise as seen, so what is read lies the other way round
    angle = radians(draws.rotate_deg)
    x, y = cos(angle) * x + sin(angle) * y, cos(angle) * y - sin(angle) * x
    x = -x if draws.flip else x
    x, y = _unwarped(draws, x, y)
    left, top, side, _ = draws.crop_xywh
    return left + (x + 1) / 2 * side, top + (y + 1) / 2 * side


def _unwarped(draws: AugmentDraws, x: float, y: float) -> tuple[float, float]:
    """The perspective by its four corners, as a solution of the equations themselves."""
    corners = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)], float)
    rows, right = [], []
    for (q_x, q_y), p in zip(warp_targets(draws.warp_xy), corners, strict=True):
        for axis, at in enumerate(p):
            row = np.zeros(8)
            row[3 * axis : 3 * axis + 3] = q_x, q_y, 1
            row[6:] = -at * q_x, -at * q_y
            rows.append(row)
            right.append(at)
    a, b, c, d, e, f, g, h = np.linalg.solve(np.array(rows), np.array(right))
    below = g * x + h * y + 1
    return (a * x + b * y + c) / below, (d * x + e * y + f) / below


def _read(photo: Rgb, x: float, y: float) -> Levels:
    """Bilinear between the four pixels around the point; beyond an edge the photo is mirrored."""
    x, y = x - 0.5, y - 0.5
    columns, rows = (floor(x), floor(x) + 1), (floor(y), floor(y) + 1)
    total = np.zeros(3)
    for row, share_y in zip(rows, (rows[1] - y, y - rows[0]), strict=True):
        for column, share_x in zip(columns, (columns[1] - x, x - columns[0]), strict=True):
            pixel = photo[_mirrored(row, photo.shape[0]), _mirrored(column, photo.shape[1])]
            total += share_y * share_x * pixel
    return total


def _mirrored(index: int, length: int) -> int:
    """The places are … 1 0 | 0 1 2 … n-1 | n-1 n-2 … of the photo."""
    place = index % (2 * length)
    return min(place, 2 * length - 1 - place)


# --- no aliasing ------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [2, 3, 4.6])
def test_a_pattern_finer_than_the_stored_photo_is_stored_as_grey(factor: float) -> None:
    side = int(100 * factor)

    stored = presize(checkerboard(side, side, 1), 100)

    assert stored.shape == (100, 100, 3)
    assert np.abs(stored.astype(float) - 127.5).max() <= 8


@pytest.mark.parametrize("field_px", [1, 2])
@pytest.mark.parametrize("augment", [STILL, replace(AugmentConfig(), max_lighting=0)])
def test_a_pattern_much_finer_than_the_output_comes_out_grey_and_not_as_another_pattern(
    field_px: int, augment: AugmentConfig
) -> None:
    board = checkerboard(460, 500, field_px)

    # at most 460 / 32 and, with the strongest zoom and crop, at least 11 stored pixels a step
    seen = [centred(board)[0], changed(InMemory(board), [0], augment)[0]]

    for levels in seen:
        assert np.abs(levels - 127.5).max() <= 40
        assert levels.std() <= 13


@pytest.mark.parametrize("side", [56, 64, 68, 72])
def test_a_pattern_of_single_stored_pixels_comes_out_nearly_grey(side: int) -> None:
    # 1.75 to 2.25 stored pixels a step: a single sample would see the black ones only, or make a
    # coarser pattern of them
    levels = centred(checkerboard(side, side, 1))[0]

    inside = levels[1:-1, 1:-1]
    assert np.abs(inside - 127.5).max() <= 4


@pytest.mark.parametrize("side", [72, 73])
def test_a_photo_is_averaged_first_where_a_step_is_longer_than_two_and_a_quarter_pixels(
    samplings: list[tuple[int, ...]], side: int
) -> None:
    photo = noise(side, side)
    samplings.clear()

    centred(photo)

    # 72 / 32 is the limit itself
    assert MAX_STRIDE == 2.25
    assert (len(samplings) > 1) == (side > 72)


# --- one crop for each photo ------------------------------------------------------------------


def test_equal_photos_of_one_batch_are_cropped_each_in_its_own_place() -> None:
    photo = noise(48, 64)
    crop_only = replace(STILL, min_scale=0.3)

    images = changed(InMemory(*[photo] * 8), list(range(8)), crop_only)

    boxes = {draws_of(photo, crop_only, position).crop_xywh for position in range(8)}
    assert len(boxes) == 8
    for one in range(8):
        for other in range(one):
            assert np.abs(images[one] - images[other]).max() > 30


@pytest.mark.parametrize("among", [[3], [3, 0], [1, 3, 2], [4, 3, 3, 0, 1]])
def test_a_photo_is_changed_alike_in_every_batch_of_its_epoch(among: list[int]) -> None:
    pixels = InMemory(*[noise(48, 64, seed) for seed in range(5)])

    images = changed(pixels, among, STRONG)

    assert np.array_equal(images[among.index(3)], changed(pixels, [0, 3], STRONG)[1])


@pytest.mark.parametrize("key", [DrawKey(7, 1), DrawKey(6, 2)])
def test_another_seed_or_epoch_changes_every_photo_otherwise(key: DrawKey) -> None:
    pixels = InMemory(*[noise(48, 64)] * 4)

    first, other = (changed(pixels, [0, 1, 2, 3], STRONG, key=k) for k in (KEY, key))

    assert all(np.abs(one - two).max() > 30 for one, two in zip(first, other, strict=True))


# --- light ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0, 1, 51, 128, 200, 255])
def test_light_is_added_and_multiplied_in_logits(level: int) -> None:
    light_only = replace(STILL, max_lighting=0.4)
    grey = np.full((40, 40, 3), level, np.uint8)

    images = changed(InMemory(*[grey] * 6), list(range(6)), light_only)

    for position, image in enumerate(images):
        draws = draws_of(grey, light_only, position)
        share = min(max(level / 255, 1e-7), 1 - 1e-7)
        logit = log(share / (1 - share)) + log(draws.brightness / (1 - draws.brightness))
        expected = 255 / (1 + exp(-logit * draws.contrast))
        assert image == pytest.approx(np.full((SIZE, SIZE, 3), expected), abs=1e-3)


def test_light_by_hand() -> None:
    # odds 1 : 4 at level 51; a contrast of 2 squares them, a brightness of 2/3 doubles them
    table = lighting_tables([0.5, 2 / 3], [2.0, 1.0])[:, 0, 51] * STD[0] + MEAN[0]

    assert table == pytest.approx([1 / 17, 1 / 3], abs=1e-6)


# --- validation -------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(48, 80), (80, 48), (64, 64), (49, 70)])
def test_validation_reads_the_centre_square_and_nothing_else(height: int, width: int) -> None:
    photo = noise(height, width)

    found, again = centred(photo)[0], centred(noise(40, 40, 9), photo)[1]

    short = min(height, width)
    step, left, top = short / SIZE, (width - short) / 2, (height - short) / 2
    expected = _averaged(photo, lambda at: (left + at[0] * step, top + at[1] * step))
    assert found == pytest.approx(expected, abs=0.6)
    assert np.array_equal(found, again)
