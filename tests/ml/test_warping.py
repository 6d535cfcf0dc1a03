import numpy as np
import pytest

from ml.sampling import draw, draw_batch
from ml.warping import warp, warp_batch

LEVELS = np.tile(np.arange(256, dtype=np.float32), (1, 3, 1))
MATRICES = {
    "as it is": np.eye(3),
    "moved by parts of a pixel": np.array([[1, 0, 0.3], [0, 1, -0.7], [0, 0, 1]]),
    "mirrored": np.array([[-1, 0, 60], [0, 1, 0], [0, 0, 1]]),
    "enlarged": np.diag([0.6, 0.6, 1.0]),
    "reduced: four readings": np.diag([1.8, 1.8, 1.0]),
    "reduced so far that it is averaged down first": np.diag([4.5, 4.5, 1.0]),
    "reflected on all sides": np.array([[2, 0, -12], [0, 2, -9], [0, 0, 1]]),
    "turned and in perspective": np.array([[1.5, 0.2, -6], [-0.1, 1.4, 5], [1e-3, -2e-3, 1]]),
}


@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES.keys())
def test_both_ways_draw_the_same_up_to_one_level(
    matrix: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    # noise: a place that is off by a hundredth of a pixel would show
    photo = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)

    drawn = draw(photo, matrix, 32).transpose(1, 2, 0).astype(int)
    warped = warp(photo, matrix, 32).astype(int)

    assert np.abs(warped - drawn).max() <= 1
    assert abs((warped - drawn).mean()) < 0.2


def test_levels_pass_through_the_table_of_their_photo_and_channel() -> None:
    photos = [np.full((8, 8, 3), level, np.uint8) for level in (3, 7)]
    tables = np.concatenate([LEVELS, LEVELS * 2])
    tables[1, 2] += 1000

    warped = warp_batch(photos, [np.eye(3)] * 2, tables, 4)

    assert warped.dtype == np.float32
    assert np.array_equal(warped, draw_batch(photos, [np.eye(3)] * 2, tables, 4))
    assert warped[1, 0, 0].tolist() == [14, 14, 1014]


def test_halves_between_levels_go_up() -> None:
    levels = np.arange(0, 200, dtype=np.uint8)
    photo = np.tile(levels[None, :, None], (1, 1, 3)).repeat(200, axis=0)
    by_half = np.array([[1, 0, 0.5], [0, 1, 0], [0, 0, 1]])

    warped = warp(photo, by_half, 100)

    assert warped[50, :, 0].tolist() == list(range(1, 101))
