"""Measures of detail and error, by hand."""

from math import inf, isnan

import numpy as np
import pytest
from numpy.typing import NDArray

from ml.theory.fidelity import high_frequency_energy, psnr_db

ALL = np.ones((2, 3), np.bool_)
NONE = np.zeros((2, 3), np.bool_)


def grey(*rows: list[float]) -> NDArray[np.float64]:
    """A picture whose three channels are alike."""
    return np.repeat(np.array(rows)[..., None], 3, axis=-1)


def test_the_energy_is_the_mean_square_of_steps_along_rows_plus_that_along_columns() -> None:
    picture = grey([0.0, 0.5, 0.5], [0.0, 0.5, 1.0])

    # steps along rows: .5 0 .5 .5; along columns: 0 0 .5
    assert high_frequency_energy(picture, ALL) == pytest.approx(0.75 / 4 + 0.25 / 3)


def test_the_energy_is_that_of_the_mean_of_the_channels() -> None:
    red_beside_blue = np.zeros((2, 3, 3))
    red_beside_blue[:, 0, 0] = red_beside_blue[:, 1, 2] = red_beside_blue[:, 2, 1] = 0.9

    assert high_frequency_energy(red_beside_blue, ALL) == pytest.approx(0.0)


def test_pairs_with_a_pixel_that_does_not_count_are_left_out() -> None:
    counted = ALL.copy()
    counted[:, 2] = False

    assert high_frequency_energy(grey([0.0, 0.5, 9.0], [0.0, 0.5, 7.0]), counted) == 0.25


def test_without_any_pixel_there_is_no_number() -> None:
    picture = grey([0.0, 0.5, 1.0], [0.0, 0.5, 1.0])

    assert isnan(high_frequency_energy(picture, NONE))
    assert isnan(psnr_db(picture, picture, NONE))


def test_a_tenth_off_everywhere_is_twenty_decibels() -> None:
    picture = grey([0.2, 0.3, 0.4], [0.5, 0.6, 0.7])

    assert psnr_db(picture + 0.1, picture, ALL) == pytest.approx(20.0)


def test_equal_pictures_are_infinitely_close_whatever_does_not_count() -> None:
    picture, counted = grey([0.2, 0.3, 0.4], [0.5, 0.6, 0.7]), ALL.copy()
    counted[0, 0] = False
    other = picture.copy()
    other[0, 0] = 1.0

    assert psnr_db(picture, other, counted) == inf
