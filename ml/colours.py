"""From every kind of stored pixel to the colour that is seen: RGB of 8 bits, clear over white."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

_WHITE = 255
_CLEAR_TO_8_BITS: dict[str, Callable[[int], int]] = {
    "L;2": lambda grey: grey * 85,
    "L;4": lambda grey: grey * 17,
    "RGB;16B": lambda colour: colour >> 8,
}
"""By the kind of pixels in the file; a colour of 16 bits is told by its high bytes."""


def to_rgb(image: Image.Image) -> Image.Image:
    """The decoded picture in RGB, transparency over white; colour profiles are left aside.

    Raises:
        ValueError: Its pixels have no agreed meaning.
    """
    if image.mode == "F":
        raise ValueError("32-bit float pixels have no agreed range")
    if image.mode.startswith("I"):
        return _deep_grey(np.asarray(image), image.info.get("transparency")).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def scale_clear_colour(image: ImageFile.ImageFile) -> None:
    """The clear colour of a PNG has 8 bits, as its pixels get; Pillow leaves it as in the file.

    The image must not have been decoded yet.
    """
    clear = image.info.get("transparency")
    to_8_bits = _CLEAR_TO_8_BITS.get(str(image.tile[0].args)) if image.tile else None
    if to_8_bits is None or clear is None:
        return
    levels = tuple(map(to_8_bits, clear)) if isinstance(clear, tuple) else to_8_bits(clear)
    image.info["transparency"] = levels


def _deep_grey(samples: NDArray[np.integer[Any]], clear: int | None) -> Image.Image:
    grey = _to_8_bits(samples)
    if clear is not None:
        grey[samples == clear] = _WHITE
    return Image.fromarray(grey)


def _to_8_bits(samples: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """16-bit samples, also when stored as 32-bit integers, keep their high byte."""
    high_bytes: NDArray[np.uint8] = (np.clip(samples, 0, 65535) >> 8).astype(np.uint8)
    return high_bytes


def _over_white(image: Image.Image) -> Image.Image:
    canvas = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(canvas, image).convert("RGB")
