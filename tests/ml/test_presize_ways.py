"""The pixels of three ways of presizing read what their geometry says."""

from typing import get_args

import numpy as np
import pytest

from ml.images import Rgb, presize
from ml.presize_ways import as_fastai, from_original, single, step_by_step
from ml.theory.fidelity import Mask
from ml.theory.presize_geometry import map_points
from ml.theory.presize_ways import Scene, Way
from tests.theory.test_presize_ways import BOOK, EVERYTHING, draws

SIZE, PRESIZE = 45, 90
CHANGES = [draws(), BOOK, EVERYTHING, draws(crop_xywh=(20, 5, 60, 60), rotate_deg=20.0)]


def ramp(width: int, height: int) -> Rgb:
    """Red grows by one level every so many pixels to the right, green downwards, blue is 100."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x / width * 250, y / height * 250, np.full_like(x, 100)], -1).astype(np.uint8)


def scene_of(photo: Rgb, changed: object) -> tuple[Rgb, Scene]:
    """The photo as it is stored, and all that is done to it."""
    stored = presize(photo, PRESIZE)
    photo_wh, stored_wh = ((image.shape[1], image.shape[0]) for image in (photo, stored))
    scene = Scene(
        photo_wh=photo_wh,
        stored_wh=stored_wh,
        presize=PRESIZE,
        size=SIZE,
        draws=changed,  # type: ignore[arg-type]  # any draws
    )
    return stored, scene


def made(way: Way, photo: Rgb, stored: Rgb, scene: Scene) -> Rgb:
    """The picture that a way makes."""
    if way == "fastai":
        return as_fastai(photo, scene)
    return {"single": single, "step_by_step": step_by_step}[way](stored, scene)


@pytest.mark.parametrize("way", get_args(Way))
@pytest.mark.parametrize("changed", CHANGES)
@pytest.mark.parametrize("photo_wh", [(240, 180), (120, 90)])
def test_a_ramp_has_the_level_of_the_place_that_is_read_however_often_it_is_interpolated(
    way: Way, changed: object, photo_wh: tuple[int, int]
) -> None:
    photo = ramp(*photo_wh)
    stored, scene = scene_of(photo, changed)
    route = scene.routes()[way]
    centres = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), -1)

    picture = made(way, photo, stored, scene).astype(float)

    read = map_points(route.matrix, centres.reshape(-1, 2)).reshape(SIZE, SIZE, 2)
    expected = read / np.array(photo_wh) * 250
    # half a level is lost by the ramp's own rounding, half by each picture's; borders blend
    inside = ((read > 4) & (read < np.array(photo_wh) - 4)).all(-1) & ~route.invented()
    assert inside.sum() > SIZE * SIZE / 3
    error = np.abs(picture[..., :2] + 0.5 - expected)[_eroded(inside)]
    assert error.max() < 2.5
    assert (picture[..., 2] == 100).all()


def _eroded(mask: Mask) -> Mask:
    """Without pixels that have one outside within three pixels."""
    wide = np.pad(mask, 3)
    shifted = [np.roll(wide, (i, j), (0, 1)) for i in range(-3, 4) for j in range(-3, 4)]
    inner: Mask = np.logical_and.reduce(shifted)[3:-3, 3:-3]
    return inner


@pytest.mark.parametrize("changed", CHANGES)
@pytest.mark.parametrize("photo_wh", [(60, 45), (240, 180), (2400, 1800)])
def test_the_originals_region_has_the_levels_of_the_photo_itself(
    changed: object, photo_wh: tuple[int, int]
) -> None:
    photo = ramp(*photo_wh)
    _, scene = (
        scene_of(photo, changed)
        if photo_wh != (60, 45)
        else scene_of(photo, draws(crop_xywh=(0, 0, 45, 45)))
    )
    route = scene.routes()["single"]
    centres = np.stack(np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5), -1)

    shown = from_original(photo, route.matrix, SIZE).astype(float)

    read = map_points(route.matrix, centres.reshape(-1, 2)).reshape(SIZE, SIZE, 2)
    inside = _eroded(~route.invented())
    error = np.abs(shown[..., :2] + 0.5 - read / np.array(photo_wh) * 250)[inside]
    assert error.max() < 1.5


def test_detail_too_fine_for_the_picture_comes_out_grey_in_the_originals_region() -> None:
    rows, columns = np.indices((720, 720))
    board = np.repeat(((rows + columns) % 2 * 255).astype(np.uint8)[..., None], 3, axis=-1)
    _, scene = scene_of(board, draws(crop_xywh=(0, 0, 90, 90), rotate_deg=10.0))

    shown = from_original(board, scene.routes()["single"].matrix, SIZE)

    assert np.abs(shown[5:-5, 5:-5].astype(int) - 127).max() <= 3


@pytest.mark.slow
def test_one_photo_larger_than_all_samples_is_averaged_over_blocks() -> None:
    x = np.arange(9000)
    stripes = np.repeat(((x // 100) % 2 * 255).astype(np.uint8)[None, :, None], 9000, axis=0)
    photo = np.repeat(stripes, 3, axis=-1)
    _, scene = scene_of(photo, draws(crop_xywh=(0, 0, 90, 90)))

    shown = from_original(photo, scene.routes()["single"].matrix, SIZE)

    # 9000 px become 45: a pixel holds a dark stripe and a light one
    assert np.abs(shown[2:-2, 2:-2].astype(int) - 127).max() <= 3
