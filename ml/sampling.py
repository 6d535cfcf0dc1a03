"""Photos drawn through a homography, one antialiased sampling each, with reflected borders.

An output pixel is the mean of four bilinear samples, spread so that they stand for its whole area
(the variance of a box of ``s`` input pixels is ``s**2 / 12``, that of one pixel ``1 / 12``, and the
samples add the difference). Where nothing is reduced the four fall together and are one.

Coordinates are continuous: pixel (i, j) covers [j, j + 1) x [i, i + 1), its centre is at +0.5.
Matrices map output to input coordinates. Shapes: B = batch, S = side of the output.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F  # noqa: N812  # torch's own customary name

from ml.images import Rgb

Matrix = NDArray[np.float64]
Floats = NDArray[np.float32]

_ENDS_XY = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float64)

MAX_STRIDE = 2.25
"""Input pixels per output pixel above which the samples would step over pixels unseen.

A photo of 460 px drawn whole to 224 px stays below, so it is sampled as it is.
"""


def draw_batch(
    photos: Sequence[Rgb], matrices: Sequence[Matrix], tables_B3T: Floats, size: int
) -> Floats:
    """The sampled photos through their tables: shape (B, S, S, 3), float32, on the CPU.

    Args:
        photos: Any sizes.
        matrices: One 3 x 3 homography for each photo.
        tables_B3T: Value of each of the 256 levels, for each photo and channel.
        size: S, in pixels.
    """
    out_BSS3 = np.empty((len(photos), size, size, 3), np.float32)
    for item, (photo, matrix) in enumerate(zip(photos, matrices, strict=True)):
        levels_3SS = draw(photo, matrix, size).astype(np.intp)
        for channel in range(3):
            # "wrap" skips the check of bounds, which levels cannot exceed.
            values_SS = tables_B3T[item, channel].take(levels_3SS[channel], mode="wrap")
            out_BSS3[item, ..., channel] = values_SS
    return out_BSS3


@dataclass(frozen=True, slots=True)
class Readings:
    """What of a photo is read, and where; the mean of all readings is the picture."""

    photo: Rgb
    taps: Matrix
    """(4, 3, 3), or (1, 3, 3): output to ``photo``."""


def readings_of(photo: Rgb, matrix: Matrix, size: int) -> Readings:
    """Only the part of the photo that is read, averaged down where readings would miss pixels."""
    photo, matrix = _read_part(*shrunk(photo, matrix, size), size)
    return Readings(photo, _taps(matrix, size))


def draw(photo: Rgb, matrix: Matrix, size: int) -> NDArray[np.uint8]:
    """One photo through its homography: levels of shape (3, S, S)."""
    readings = readings_of(photo, matrix, size)
    height, width = readings.photo.shape[:2]
    photo_13HW = torch.from_numpy(readings.photo.astype(np.float32)).permute(2, 0, 1)[None]
    grids = [_grid(tap, size, width, height) for tap in readings.taps]
    drawn_13RS = F.grid_sample(
        photo_13HW,
        torch.from_numpy(np.concatenate(grids))[None],
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )
    drawn_3SS = drawn_13RS.view(3, len(grids), size, size).mean(dim=1)
    return (drawn_3SS.numpy() + np.float32(0.5)).astype(np.uint8)


def shrunk(photo: Rgb, matrix: Matrix, size: int) -> tuple[Rgb, Matrix]:
    """The photo averaged down so far that sampling reads every pixel, and the matrix for it."""
    step_px = stride(matrix, size)
    if step_px <= MAX_STRIDE:
        return photo, matrix
    height, width = photo.shape[:2]
    shrink = MAX_STRIDE / step_px
    smaller = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    image = Image.fromarray(photo).resize(smaller, Image.Resampling.BOX)
    scaling = np.diag([smaller[0] / width, smaller[1] / height, 1.0])
    return np.asarray(image), scaling @ matrix


def stride(matrix: Matrix, size: int) -> float:
    """Input pixels per output pixel at the centre: root of the homography's local area factor."""
    # in plain numbers: NumPy takes longer to begin than this takes
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    middle = size / 2
    w = (g + h) * middle + i
    x, y = ((a + b) * middle + c) / w, ((d + e) * middle + f) / w
    area: float = (a - x * g) * (e - y * h) - (b - x * h) * (d - y * g)
    return math.sqrt(abs(area)) / abs(float(w))


def _taps(matrix: Matrix, size: int) -> Matrix:
    """The homographies whose samples, averaged, are the picture: (4, 3, 3), or (1, 3, 3)."""
    offset_px = tap_offset(stride(matrix, size))
    if offset_px == 0:
        return matrix[None]
    taps = np.repeat(matrix[None], len(_ENDS_XY), axis=0)
    taps[..., 2] += offset_px * _ENDS_XY @ matrix[:, :2].T
    return taps


def tap_offset(step_px: float) -> float:
    """Distance of each sample from the centre along both axes, in output pixels: 0 to 0.29."""
    return math.sqrt(max(0.0, 1 - 1 / step_px**2) / 12)


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def _read_part(photo: Rgb, matrix: Matrix, size: int) -> tuple[Rgb, Matrix]:
    """The part of the photo that the samples read, and the matrix for it."""
    ends = np.array([[0, 0, 1], [size, 0, 1], [0, size, 1], [size, size, 1]], np.float64)
    x, y, w = matrix @ ends.T
    if w.min() <= 0:
        return photo, matrix
    height, width = photo.shape[:2]
    columns = _read_span((x / w).min(), (x / w).max(), width)
    rows = _read_span((y / w).min(), (y / w).max(), height)
    return photo[rows, columns], _shift(-columns.start, -rows.start) @ matrix


def _read_span(low: float, high: float, length: int) -> slice:
    """Pixels of one axis read by samples from ``low`` to ``high``, those reflected included."""
    start = max(0, math.floor(low) - 1)
    stop = min(length, math.ceil(high) + 1)
    if low < 0:
        stop = max(stop, min(length, math.ceil(-low) + 1))
    if high > length:
        start = min(start, max(0, math.floor(2 * length - high) - 1))
    return slice(start, stop)


def _grid(matrix: Matrix, size: int, width: int, height: int) -> Floats:
    """Where each output reads, in the coordinates of ``grid_sample``: (S, S, 2), -1 to 1 inside."""
    to_unit = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    (a, b, c), (d, e, f), (g, h, i) = (to_unit @ matrix).astype(np.float32)
    u_S = np.arange(size, dtype=np.float32) + np.float32(0.5)
    w_SS = g * u_S + (h * u_S + i)[:, None]
    grid_SS2 = np.empty((size, size, 2), np.float32)
    np.divide(a * u_S + (b * u_S + c)[:, None], w_SS, out=grid_SS2[..., 0])
    np.divide(d * u_S + (e * u_S + f)[:, None], w_SS, out=grid_SS2[..., 1])
    return grid_SS2
