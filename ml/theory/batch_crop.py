"""The crop box that fastai draws once for a whole batch of equally large pictures."""

from dataclasses import dataclass
from math import exp, log, sqrt
from random import Random

from ml.theory.errors import InvalidInputError

TRIES = 10
Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CropBox:
    """A window inside a picture, in whole pixels."""

    top_left_yx: tuple[int, int]
    size_hw: tuple[int, int]


def draw_crop_box(
    rng: Random,
    picture_hw: tuple[int, int],
    *,
    min_scale: float,
    max_scale: float = 1.0,
    ratio: Span = (1.0, 1.0),
) -> CropBox:
    """A window of a random area and shape, anywhere; the same generator state, the same window.

    After ten windows that do not fit it is `centre_crop_box`.

    Args:
        rng: where the numbers come from.
        picture_hw: height and width in pixels.
        min_scale: least share of the area, above 0.
        max_scale: greatest share of the area.
        ratio: least and greatest width over height, drawn log-uniformly.

    Raises:
        InvalidInputError: a bound is outside its range.
    """
    if not 0 < min_scale <= max_scale <= 1:
        raise InvalidInputError(
            "min_scale", f"min_scale is {min_scale}; use above 0 up to max_scale ({max_scale})"
        )
    _check_ratio(ratio)
    height, width = picture_hw
    for _ in range(TRIES):
        area = rng.uniform(min_scale, max_scale) * width * height
        shape = exp(rng.uniform(log(ratio[0]), log(ratio[1])))
        wide, high = round(sqrt(area * shape)), round(sqrt(area / shape))
        if wide <= width and high <= height:
            top, left = rng.randint(0, height - high), rng.randint(0, width - wide)
            return CropBox((top, left), (high, wide))
    return centre_crop_box(picture_hw, ratio=ratio)


def centre_crop_box(
    picture_hw: tuple[int, int], *, ratio: Span = (1.0, 1.0), scale: float = 1.0
) -> CropBox:
    """The largest centred window whose width over height is within ``ratio``, times ``scale``.

    Raises:
        InvalidInputError: ``ratio`` is no rising pair above 0, or ``scale`` not above 0 up to 1.
    """
    _check_ratio(ratio)
    if not 0 < scale <= 1:
        raise InvalidInputError("scale", f"scale is {scale}; use above 0 up to 1")
    height, width = picture_hw
    high, wide = height, width
    if width / height < ratio[0]:
        high = int(width / ratio[0])
    elif width / height > ratio[1]:
        wide = int(height * ratio[1])
    size_hw = (max(1, int(high * scale)), max(1, int(wide * scale)))
    return CropBox(((height - size_hw[0]) // 2, (width - size_hw[1]) // 2), size_hw)


def _check_ratio(ratio: Span) -> None:
    if not 0 < ratio[0] <= ratio[1]:
        raise InvalidInputError("ratio", f"ratio is {ratio}; use a rising pair above 0")
