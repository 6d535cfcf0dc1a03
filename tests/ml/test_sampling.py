import numpy as np
import pytest

from ml.sampling import draw, draw_batch

IDENTITY = np.eye(3)
LEVELS = np.tile(np.arange(256, dtype=np.float32), (1, 3, 1))


def ramp(height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Level = 10 x column + row, in each channel."""
    rows, columns = np.mgrid[:height, :width]
    return np.repeat((10 * columns + rows)[..., None], 3, axis=2).astype(np.uint8)


def shift(x: float, y: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def test_the_identity_copies() -> None:
    photo = ramp(8, 8)

    assert np.array_equal(draw(photo, IDENTITY, 8), photo.transpose(2, 0, 1))


def test_half_a_pixel_is_the_mean_of_two() -> None:
    assert draw(ramp(8, 12), shift(2.5, 0), 4)[0, 0].tolist() == [25, 35, 45, 55]


def test_borders_are_reflected_with_the_edge_pixel_twice() -> None:
    assert draw(ramp(4, 4), shift(-2, 0), 4)[0, 0].tolist() == [10, 0, 0, 10]
    assert draw(ramp(4, 4), shift(2, 0), 4)[0, 0].tolist() == [20, 30, 30, 20]


def test_a_mirror_is_a_negative_scale() -> None:
    mirror = np.array([[-1, 0, 8], [0, 1, 0], [0, 0, 1.0]])

    assert np.array_equal(draw(ramp(8, 8), mirror, 8), ramp(8, 8)[:, ::-1].transpose(2, 0, 1))


def test_a_homography_divides() -> None:
    matrix = np.array([[2, 0, 0], [0, 2, 0], [0, 0, 2.0]])

    assert np.array_equal(draw(ramp(8, 8), matrix, 8), draw(ramp(8, 8), IDENTITY, 8))


def test_a_strong_reduction_averages_instead_of_skipping() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::4] = 200

    drawn = draw(stripes, np.diag([8, 8, 1.0]), 8)

    assert int(drawn[0, 4, 4]) == pytest.approx(50, abs=15)


def test_levels_pass_through_the_table_of_their_photo_and_channel() -> None:
    tables = np.concatenate([LEVELS, LEVELS * 2])
    tables[1, 2] += 1000

    drawn = draw_batch([ramp(4, 4), ramp(4, 4)], [IDENTITY, IDENTITY], tables, 4)

    assert drawn.shape == (2, 4, 4, 3)
    assert drawn[0, 1, 2].tolist() == [21, 21, 21]
    assert drawn[1, 1, 2].tolist() == [42, 42, 1042]
