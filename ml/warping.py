"""What `ml.sampling` draws, drawn by OpenCV: training photos, of which every step needs new ones.

The readings, their places and the reflected borders are those of `ml.sampling.draw`, in little more
than half of its time; a level may be rounded the other way. What is scored is drawn there all the
same, so that a script of plain torch repeats it.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.images import Rgb
from ml.sampling import Floats, Matrix, readings_of

Fine = NDArray[np.uint16]

_FINE_BITS = 6
"""Of a level's fraction; the sum of four levels, 255 at most, just fits 16 bits with it."""
_FINE_LEVEL = np.uint16(1 << _FINE_BITS)

_CENTRES_TO_CORNERS = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
"""OpenCV counts from the centre of the first pixel, our matrices from its corner."""
_CORNERS_TO_CENTRES = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
_FLAGS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP

# the thread that makes batches computes beside those that train, and is not to become several
cv2.setNumThreads(1)


def warp_batch(
    photos: Sequence[Rgb], matrices: Sequence[Matrix], tables_B3T: Floats, size: int
) -> Floats:
    """The sampled photos through their tables, as `ml.sampling.draw_batch` gives them.

    Shape (B, S, S, 3), float32.
    """
    out_BSS3 = np.empty((len(photos), size, size, 3), np.float32)
    for photo, matrix, table_3T, out_SS3 in zip(
        photos, matrices, tables_B3T, out_BSS3, strict=True
    ):
        lit(warp(photo, matrix, size), table_3T, out=out_SS3)
    return out_BSS3


def lit(levels_SS3: Rgb, table_3T: Floats, *, out: Floats) -> None:
    """``out``, of shape (S, S, 3), is each level's entry in the table of its channel."""
    cv2.LUT(levels_SS3, np.ascontiguousarray(table_3T.T)[None], dst=out)


def warp(photo: Rgb, matrix: Matrix, size: int) -> Rgb:
    """One photo through its homography: levels of shape (S, S, 3)."""
    readings = readings_of(photo, matrix, size)
    fine_HW4 = _fine(readings.photo)
    sum_SS4, *others = (_read(fine_HW4, tap, size) for tap in readings.taps)
    for read_SS4 in others:
        sum_SS4 += read_SS4
    return _levels(sum_SS4, bits=_FINE_BITS + len(others).bit_length())


def _fine(photo: Rgb) -> Fine:
    """The levels with room for fractions: (H, W, 4), for OpenCV reads four channels faster."""
    rgba_HW4 = cv2.cvtColor(photo, cv2.COLOR_RGB2RGBA)
    fine_HW4 = np.empty(rgba_HW4.shape, np.uint16)
    return np.multiply(rgba_HW4, _FINE_LEVEL, out=fine_HW4)


def _levels(sum_SS4: Fine, *, bits: int) -> Rgb:
    """Rounded once, at the end, as the mean of floats would be: (S, S, 3).

    Args:
        sum_SS4: The sum of readings.
        bits: Of its fraction.
    """
    step = 2.0**-bits
    # OpenCV rounds a half to the even number; a fraction of a step more, and it goes up
    rgba_SS4 = cv2.convertScaleAbs(sum_SS4, alpha=step, beta=step / 4)
    return np.asarray(cv2.cvtColor(rgba_SS4, cv2.COLOR_RGBA2RGB), np.uint8)


def _read(fine_HW4: Fine, tap: Matrix, size: int) -> Fine:
    read_SS4 = cv2.warpPerspective(
        fine_HW4,
        _CORNERS_TO_CENTRES @ tap @ _CENTRES_TO_CORNERS,
        (size, size),
        flags=_FLAGS,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(read_SS4, np.uint16)
