"""From a photo's file to a model's input, in words and numbers that anybody can follow.

Model cards, exported models and scripts say it in these words; `ml.images`, `ml.augment` and
`ml.fastai_pixels` do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What is done to a photo before a model sees it.

    Attributes:
        mode: how photos are presized, as in a request's ``presize_mode``.
        orientation: whether photos are turned upright by their EXIF tag, or left as stored.
        presize: short side that a photo is reduced to first, in pixels.
        size: side of the square that the model sees, in pixels.
        interpolation: how a reduced picture is made of a larger one.
        mean: taken from each channel of values in [0, 1], in the order R, G, B.
        std: what each channel is divided by then.
        steps: the whole way in order.
    """

    mode: Literal["single", "fastai"]
    orientation: Literal["exif", "as_stored"]
    presize: int
    size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    steps: tuple[str, ...]


def preprocessing(
    *,
    mode: Literal["single", "fastai"],
    presize: int,
    size: int,
    mean: Sequence[float],
    std: Sequence[float],
) -> Preprocessing:
    """How a model that was trained with these values wants its photos."""
    geometry = _single(presize, size) if mode == "single" else _fastai(presize, size)
    return Preprocessing(
        mode=mode,
        orientation="exif" if mode == "single" else "as_stored",
        presize=presize,
        size=size,
        interpolation="bilinear, antialiased",
        mean=tuple(mean),
        std=tuple(std),
        steps=(*geometry, *_colours(mean, std)),
    )


def _single(presize: int, size: int) -> tuple[str, ...]:
    return (
        "decode the first frame as RGB, transparency over white, and turn it upright by its EXIF "
        f"orientation; a JPEG may be decoded at a half, a quarter or an eighth of its size as long "
        f"as its short side stays at {presize} px or more",
        f"where the short side is above {presize} px, resize to a short side of {presize} px with "
        "the aspect kept: Pillow's BILINEAR, which is antialiased; nothing is enlarged",
        f"resize the largest centred square to {size} x {size} px: each output pixel is the mean "
        "of four bilinear samples spread over its area (with r input pixels for an output pixel "
        "they lie sqrt((1 - 1/r^2) / 12) of an output pixel from its centre along both axes; where "
        "r is 1 or less they are one), rounded to whole levels",
    )


def _fastai(presize: int, size: int) -> tuple[str, ...]:
    return (
        "decode the first frame as RGB as it is stored: neither EXIF orientation nor transparency "
        "is heeded",
        f"resize the largest centred square to {presize} x {presize} px with Pillow's BILINEAR, "
        "which is antialiased, and divide the levels by 255",
        f"sample {size} x {size} px bilinearly, corner pixels on corner pixels; where the side is "
        "reduced to less than a half, average it down by half that factor first",
    )


def _colours(mean: Sequence[float], std: Sequence[float]) -> tuple[str, ...]:
    return (
        "values in [0, 1] (levels divided by 255), channels R, G, B first: float32 of shape "
        "(batch, 3, size, size)",
        f"subtract the mean {_triple(mean)} and divide by the deviation {_triple(std)}",
    )


def _triple(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
