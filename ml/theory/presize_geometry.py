"""The geometry of presizing: crop boxes, affine and perspective maps, and one matrix for all.

Normalised coordinates run from -1 to 1, x right, y down, and every matrix maps OUTPUT coordinates
to INPUT coordinates. Pixel coordinates are continuous: pixel i covers [i, i + 1] and its centre is
i + 0.5 (what ``align_corners=False`` means). The formulas before `combined_matrix` are fastai's.
"""

from dataclasses import dataclass
from math import cos, exp, log, radians, sin, sqrt
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml.theory.errors import InvalidInputError

Matrix = npt.NDArray[np.float64]
Pair = tuple[float, float]

LIKELY = 0.75
NEUTRAL_BRIGHTNESS = 0.5
INSIDE_TOLERANCE_PX = 1e-6


@dataclass(frozen=True, slots=True)
class ResizeBox:
    """The window to take from a photo, in pixels, and the size to resize it to.

    A negative corner means that the photo is padded there.
    """

    crop_size_wh: tuple[int, int]
    top_left_xy: tuple[int, int]
    resize_to_wh: tuple[int, int]


def resize_box(
    photo_wh: tuple[int, int],
    size: int | tuple[int, int],
    *,
    method: Literal["crop", "pad", "squish"] = "crop",
    place_xy: Pair = (0.5, 0.5),
) -> ResizeBox:
    """The window that fastai's Resize takes, truncated to whole pixels as it does.

    Args:
        photo_wh: width and height in pixels.
        size: side of the square in pixels, or (height, width).
        method: ``crop`` takes the largest window of the target's shape, ``pad`` the smallest that
            holds the photo, ``squish`` the whole photo.
        place_xy: where the window lies, 0 left or top to 1; a half each for validation.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if method == "squish":
        return ResizeBox(photo_wh, (0, 0), (width, height))
    choose = max if method == "pad" else min
    scale = choose(photo_wh[0] / width, photo_wh[1] / height)
    window = (max(1, int(scale * width)), max(1, int(scale * height)))
    corner = (
        int(place_xy[0] * (photo_wh[0] - window[0])),
        int(place_xy[1] * (photo_wh[1] - window[1])),
    )
    return ResizeBox(window, corner, (width, height))


def affine(
    *,
    flip: bool = False,
    rotate_deg: float = 0.0,
    zoom: float = 1.0,
    zoom_centre_xy: Pair = (0.5, 0.5),
    aspect_wh: tuple[float, float] = (1.0, 1.0),
) -> Matrix:
    """Flip, then rotation, then zoom as one 3x3 matrix over normalised coordinates.

    Args:
        flip: mirror left and right.
        rotate_deg: degrees, positive clockwise as seen.
        zoom: above 1 enlarges.
        zoom_centre_xy: the point that stays in place, as fractions of width and height.
        aspect_wh: width and height of the input, whose ratio keeps a rotation free of shear.
    """
    if zoom <= 0:
        raise InvalidInputError("zoom", f"zoom is {zoom}; use a number above 0")
    angle, shift = radians(rotate_deg), 1 - 1 / zoom
    mirror = np.diag([-1.0 if flip else 1.0, 1.0, 1.0])
    turn = np.array([[cos(angle), sin(angle), 0], [-sin(angle), cos(angle), 0], [0, 0, 1]])
    centre_x, centre_y = (2 * fraction - 1 for fraction in zoom_centre_xy)
    enlarge = np.array(
        [[1 / zoom, 0, shift * centre_x], [0, 1 / zoom, shift * centre_y], [0, 0, 1]]
    )
    matrix: Matrix = mirror @ turn @ enlarge
    matrix[0, 1] *= aspect_wh[1] / aspect_wh[0]
    matrix[1, 0] *= aspect_wh[0] / aspect_wh[1]
    return matrix


def warp_targets(warp_xy: Pair) -> Matrix:
    """Where a perspective warp sends the corners (-1,-1), (-1,1), (1,-1), (1,1), shape (4, 2)."""
    x, y = warp_xy
    return np.array(
        [[-1 - y, -1 - x], [-1 + y, 1 + x], [1 + y, -1 + x], [1 - y, 1 - x]], dtype=np.float64
    )


def warp(warp_xy: Pair) -> Matrix:
    """The homography that brings the warp's targets back to the corners; its last entry is 1.

    Raises:
        InvalidInputError: the warp is so strong that it folds the picture.
    """
    corners = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)]
    rows, right = [], []
    for (q_x, q_y), (p_x, p_y) in zip(warp_targets(warp_xy).tolist(), corners, strict=True):
        rows.append([q_x, q_y, 1, 0, 0, 0, -p_x * q_x, -p_x * q_y])
        rows.append([0, 0, 0, q_x, q_y, 1, -p_y * q_x, -p_y * q_y])
        right += [p_x, p_y]
    try:
        coefficients = np.linalg.solve(np.array(rows), np.array(right))
    except np.linalg.LinAlgError as error:
        raise InvalidInputError("max_warp", f"a warp by {warp_xy} folds the picture") from error
    return np.append(coefficients, 1.0).reshape(3, 3)


def map_points(matrix: Matrix, points: npt.ArrayLike) -> Matrix:
    """The points, shape (N, 2), under a homography."""
    given = np.asarray(points, dtype=np.float64)
    mapped = np.column_stack([given, np.ones(len(given))]) @ matrix.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


def combined_matrix(  # noqa: PLR0913  (one number for each step that is composed)
    *,
    photo_wh: tuple[float, float],
    size: int,
    crop_xywh: tuple[float, float, float, float],
    flip: bool = False,
    rotate_deg: float = 0.0,
    zoom: float = 1.0,
    zoom_centre_xy: Pair = (0.5, 0.5),
    warp_xy: Pair = (0.0, 0.0),
) -> Matrix:
    """The one 3x3 homography from output pixels to photo pixels: a single sampling does it all.

    An output point is put into normalised coordinates, flipped, rotated and zoomed, then warped,
    then laid over the crop box. Unlike fastai's two samplings the transforms turn about the
    centre of the crop box, and a point beyond the box but inside the photo is real, not reflected.

    Args:
        photo_wh: width and height of the stored photo in pixels.
        size: side of the square output in pixels.
        crop_xywh: left, top, width and height of the square crop box in photo pixels.
        flip: mirror left and right.
        rotate_deg: degrees, positive clockwise as seen.
        zoom: above 1 enlarges.
        zoom_centre_xy: the point of the crop box that stays in place, as fractions.
        warp_xy: perspective magnitudes.

    Raises:
        InvalidInputError: the crop box is not square or not inside the photo.
    """
    _check_crop(crop_xywh, photo_wh)
    left, top, side, _ = crop_xywh
    to_normalised = np.array([[2 / size, 0, -1], [0, 2 / size, -1], [0, 0, 1]])
    half = side / 2
    to_photo = np.array([[half, 0, left + half], [0, half, top + half], [0, 0, 1]])
    turned = affine(flip=flip, rotate_deg=rotate_deg, zoom=zoom, zoom_centre_xy=zoom_centre_xy)
    matrix: Matrix = to_photo @ warp(warp_xy) @ turned @ to_normalised
    matrix /= matrix[2, 2]
    return matrix


def centre_matrix(photo_wh: tuple[float, float], size: int) -> Matrix:
    """The matrix for validation: the centre square of the short side, resized and nothing else."""
    short = min(photo_wh)
    left, top = ((length - short) / 2 for length in photo_wh)
    return combined_matrix(photo_wh=photo_wh, size=size, crop_xywh=(left, top, short, short))


@dataclass(frozen=True, slots=True)
class AugmentDraws:
    """The random numbers of one augmented photo; a step that was not drawn has its neutral value.

    ``crop_xywh`` is in photo pixels; ``place_xy`` says where the square around it lies in the
    photo, 0 left or top to 1. Neutral: rotation 0, zoom 1, warp 0, brightness 0.5, contrast 1.
    """

    crop_xywh: tuple[float, float, float, float]
    flip: bool
    rotate_deg: float
    zoom: float
    zoom_centre_xy: Pair
    warp_xy: Pair
    brightness: float
    contrast: float
    place_xy: Pair = (0.5, 0.5)

    def matrix(self, photo_wh: tuple[float, float], size: int) -> Matrix:
        """The `combined_matrix` of these draws."""
        return combined_matrix(
            photo_wh=photo_wh,
            size=size,
            crop_xywh=self.crop_xywh,
            flip=self.flip,
            rotate_deg=self.rotate_deg,
            zoom=self.zoom,
            zoom_centre_xy=self.zoom_centre_xy,
            warp_xy=self.warp_xy,
        )


def draw_augmentation(  # noqa: PLR0913  (one bound for each step that is drawn)
    rng: np.random.Generator,
    *,
    photo_wh: tuple[float, float],
    min_scale: float = 0.75,
    max_rotate: float = 10.0,
    max_zoom: float = 1.1,
    max_lighting: float = 0.2,
    max_warp: float = 0.2,
    flip: bool = True,
) -> AugmentDraws:
    """Draws for one photo with fastai's probabilities; the same generator state, the same draws.

    The presized square lies anywhere along the long side; the crop box, of an area between
    ``min_scale`` and all of it, anywhere in the square, drawn for each photo. A flip has
    probability 1/2, every other step 3/4, both warps apart. The generator advances by the same
    number of draws whatever the bounds.

    Args:
        rng: where the numbers come from.
        photo_wh: width and height in pixels.
        min_scale: least area of the crop, above 0 up to 1.
        max_rotate: degrees to either side.
        max_zoom: at least 1.
        max_lighting: at least 0, below 1; contrast is log-uniform in [1 - it, 1 / (1 - it)].
        max_warp: perspective magnitude to either side.
        flip: whether photos may be mirrored.

    Raises:
        InvalidInputError: a bound is outside its range.
    """
    _check_bounds(min_scale=min_scale, max_zoom=max_zoom, max_lighting=max_lighting)
    place_xy, crop_xywh = _draw_crop(rng, photo_wh, min_scale)
    chance = rng.random(7)
    spread = 2 * rng.random(6) - 1
    centre_x, centre_y = rng.random(2).tolist()
    drawn = np.where(chance[:6] < LIKELY, spread, 0.0).tolist()
    rotate, zoom, warp_x, warp_y, brightness, contrast = drawn
    return AugmentDraws(
        crop_xywh=crop_xywh,
        flip=flip and bool(chance[6] < 0.5),
        rotate_deg=max_rotate * rotate,
        zoom=1.0 + (max_zoom - 1) * (zoom + 1) / 2 if chance[1] < LIKELY else 1.0,
        zoom_centre_xy=(centre_x, centre_y),
        warp_xy=(max_warp * warp_x, max_warp * warp_y),
        brightness=NEUTRAL_BRIGHTNESS * (1 + max_lighting * brightness),
        contrast=exp(-log(1 - max_lighting) * contrast),
        place_xy=place_xy,
    )


def _draw_crop(
    rng: np.random.Generator, photo_wh: tuple[float, float], min_scale: float
) -> tuple[Pair, tuple[float, float, float, float]]:
    place_x, place_y, area, inner_x, inner_y = rng.random(5).tolist()
    short = min(photo_wh)
    side = short * sqrt(min_scale + (1 - min_scale) * area)
    left = place_x * (photo_wh[0] - short) + inner_x * (short - side)
    top = place_y * (photo_wh[1] - short) + inner_y * (short - side)
    return (place_x, place_y), (left, top, side, side)


def _check_bounds(*, min_scale: float, max_zoom: float, max_lighting: float) -> None:
    if not 0 < min_scale <= 1:
        raise InvalidInputError("min_scale", f"min_scale is {min_scale}; use above 0 up to 1")
    if max_zoom < 1:
        raise InvalidInputError("max_zoom", f"max_zoom is {max_zoom}; use 1 or more")
    if not 0 <= max_lighting < 1:
        raise InvalidInputError("max_lighting", f"max_lighting is {max_lighting}; use 0 to below 1")


def _check_crop(
    crop_xywh: tuple[float, float, float, float], photo_wh: tuple[float, float]
) -> None:
    left, top, width, height = crop_xywh
    if width != height or width <= 0:
        raise InvalidInputError("crop_xywh", f"the crop box {crop_xywh} is not a square")
    slack = INSIDE_TOLERANCE_PX
    inside_x = -slack <= left and left + width <= photo_wh[0] + slack
    inside_y = -slack <= top and top + height <= photo_wh[1] + slack
    if not (inside_x and inside_y):
        raise InvalidInputError(
            "crop_xywh", f"the crop box {crop_xywh} reaches beyond the photo {photo_wh}"
        )
