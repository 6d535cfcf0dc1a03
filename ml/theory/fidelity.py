"""How much of the original a picture keeps: detail that is there, and how far pixels are off.

Shapes: H = height, W = width. Pictures are H x W x 3 with values from 0 to 1.
"""

from math import inf, log10, nan
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]


def high_frequency_energy(picture_HW3: Picture, counted_HW: Mask) -> float:
    """Mean squared difference of grey neighbours, along rows plus along columns.

    Grey is the mean of the channels. Only pairs whose pixels both count are taken; without such
    a pair along rows, or along columns, it is not a number.
    """
    grey_HW = np.asarray(picture_HW3, np.float64).mean(axis=-1)
    across = _mean_square(grey_HW[:, 1:] - grey_HW[:, :-1], counted_HW[:, 1:] & counted_HW[:, :-1])
    down = _mean_square(grey_HW[1:] - grey_HW[:-1], counted_HW[1:] & counted_HW[:-1])
    return across + down


def psnr_db(picture_HW3: Picture, original_HW3: Picture, counted_HW: Mask) -> float:
    """Peak signal-to-noise ratio of the counted pixels, in decibels: -10 log10 of the mean error.

    The error is the squared difference of a value. Infinite for equal pictures, not a number
    where no pixel counts.
    """
    difference = np.asarray(picture_HW3, np.float64) - np.asarray(original_HW3, np.float64)
    error = _mean_square(difference, np.broadcast_to(counted_HW[..., None], difference.shape))
    if np.isnan(error):
        return nan
    return inf if error == 0 else -10 * log10(error)


def _mean_square(values: npt.NDArray[np.float64], counted: Mask) -> float:
    chosen = values[counted]
    return float(np.square(chosen).mean()) if chosen.size else nan
