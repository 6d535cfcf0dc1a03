"""What `ml.sampling` draws, drawn by OpenCV: training photos, of which every step needs new ones.

The readings, their places and the reflected borders are those of `ml.sampling.draw`, in half of
its time; levels differ from its levels by one at most. What is scored is drawn there all the same,
so that a script of plain torch repeats it.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.images import Rgb
from ml.sampling import Floats, Matrix, Readings, readings_of

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
        levels_SS3 = warp(photo, matrix, size)
        cv2.LUT(levels_SS3, np.ascontiguousarray(table_3T.T)[None], dst=out_SS3)
    return out_BSS3


def warp(photo: Rgb, matrix: Matrix, size: int) -> Rgb:
    """One photo through its homography: levels of shape (S, S, 3)."""
    readings = readings_of(photo, matrix, size)
    first, *others = (_read(readings, tap, size) for tap in readings.taps)
    if not others:
        return first
    sum_SS3 = first.astype(np.uint16)
    for read in others:
        sum_SS3 += read
    half = len(readings.taps) // 2
    mean_SS3: NDArray[np.uint16] = (sum_SS3 + half) // len(readings.taps)
    return mean_SS3.astype(np.uint8)


def _read(readings: Readings, tap: Matrix, size: int) -> Rgb:
    read_SS3 = cv2.warpPerspective(
        readings.photo,
        _CORNERS_TO_CENTRES @ tap @ _CENTRES_TO_CORNERS,
        (size, size),
        flags=_FLAGS,
        borderMode=cv2.BORDER_REFLECT,
    )
    return np.asarray(read_SS3, np.uint8)
