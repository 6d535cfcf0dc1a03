"""The sample photos' coats: palettes, and the markings of tabby, spotted and patched fur.

Shapes: H, W = pixels of a crop, 2 = the two kinds of mark a coat may have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Colour = tuple[int, int, int]


class Fur(NamedTuple):
    """Where the pixels of one crop lie on the cat, each array H x W.

    ``run`` grows by 1 per cat unit across the stripes and ``rim`` is 0 where no stripe reaches,
    1 elsewhere; ``x`` and ``y`` are cat units; the noises are smooth, about -1 to 1, and ``hair``
    is Gaussian.
    """

    run: Floats
    rim: Floats
    x: Floats
    y: Floats
    noise_a: Floats
    noise_b: Floats
    hair: Floats


Markings = Callable[[Fur], tuple[Floats, Floats | None]]
"""How strongly each of a coat's two marks shows at each pixel, in [0, 1]; None: it has one."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours of one animal, RGB in 0 to 255."""

    base: Colour
    mark: Colour
    second: Colour
    pale: Colour
    eye: Colour


@dataclass(frozen=True, slots=True)
class Coat:
    """A kind of fur: the palettes it comes in and how its markings are laid out."""

    palettes: tuple[Palette, ...]
    markings: Callable[[np.random.Generator], Markings]


def _step(edge: float, softness: float, value: Floats) -> Floats:
    """0 below ``edge``, 1 above ``edge + softness``, a ramp between."""
    return np.asarray(np.clip((value - np.float32(edge)) / np.float32(softness), 0.0, 1.0))


def tabby_markings(rng: np.random.Generator) -> Markings:
    """Wavy stripes across each part, here and there broken into dashes."""
    per_unit = rng.uniform(8.5, 12.5)
    wave, broken = rng.uniform(0.6, 1.3), rng.uniform(0.0, 0.75)
    edge, phase = rng.uniform(-0.1, 0.25), rng.uniform(0.0, 6.28)

    def markings(fur: Fur) -> tuple[Floats, Floats | None]:
        across = np.sin(fur.run * np.float32(6.283 * per_unit) + fur.noise_a * wave + phase)
        gaps = np.sin((fur.x + fur.y) * np.float32(17.0) + fur.noise_b * np.float32(4.0))
        stripes = _step(edge, 0.45, across - np.float32(broken) * np.maximum(gaps, 0.0))
        return stripes * fur.rim, None

    return markings


def spotted_markings(rng: np.random.Generator) -> Markings:
    """Dark spots on a jittered brick lattice, some coats with lighter hearts in them."""
    cell, radius = rng.uniform(0.075, 0.105), rng.uniform(0.27, 0.35)
    stretch = rng.uniform(0.85, 1.5)
    shift = rng.uniform(-0.16, 0.16, (2, 64, 64)).astype(np.float32)
    heart = rng.uniform(0.4, 0.6) if rng.random() < 0.4 else 0.0

    def markings(fur: Fur) -> tuple[Floats, Floats | None]:
        row = fur.y / np.float32(cell) + np.float32(40.0)
        j = row.astype(np.int32)
        column = fur.x / np.float32(cell * stretch) + np.float32(40.0) + (j % 2) * np.float32(0.5)
        i = column.astype(np.int32)
        dx = column - i - np.float32(0.5) - shift[0, j % 64, i % 64]
        dy = row - j - np.float32(0.5) - shift[1, j % 64, i % 64]
        near = np.float32(radius) - np.sqrt(dx * dx + dy * dy) + fur.noise_a * np.float32(0.03)
        spots = _step(0.0, 0.1, near)
        return spots, _step(radius * (1.0 - heart), 0.08, near) if heart else None

    return markings


def patched_markings(rng: np.random.Generator) -> Markings:
    """Large irregular patches in two colours on white."""
    edge_a, edge_b = rng.uniform(-0.1, 0.3, 2)

    def markings(fur: Fur) -> tuple[Floats, Floats | None]:
        ragged = np.float32(0.05) * fur.hair
        first = _step(edge_a, 0.12, fur.noise_a + ragged)
        return first, _step(edge_b, 0.12, fur.noise_b + ragged)

    return markings


COATS: dict[str, Coat] = {
    "patched": Coat(
        palettes=(
            Palette((238, 231, 221), (214, 128, 58), (52, 46, 44), (246, 242, 236), (196, 170, 60)),
            Palette(
                (234, 230, 226), (120, 120, 128), (48, 48, 54), (244, 242, 240), (120, 165, 90)
            ),
            Palette(
                (238, 230, 216), (196, 140, 92), (98, 72, 58), (248, 243, 234), (104, 158, 190)
            ),
        ),
        markings=patched_markings,
    ),
    "spotted": Coat(
        palettes=(
            Palette((212, 160, 92), (78, 48, 26), (150, 96, 48), (240, 222, 188), (128, 170, 92)),
            Palette(
                (182, 180, 176), (56, 56, 60), (120, 118, 118), (228, 226, 222), (150, 180, 90)
            ),
            Palette((190, 152, 112), (74, 52, 40), (140, 104, 76), (234, 216, 192), (206, 172, 70)),
        ),
        markings=spotted_markings,
    ),
    "tabby": Coat(
        palettes=(
            Palette((222, 148, 78), (158, 84, 32), (0, 0, 0), (248, 226, 196), (206, 164, 58)),
            Palette((160, 128, 96), (66, 48, 36), (0, 0, 0), (226, 208, 182), (140, 172, 84)),
            Palette((164, 162, 160), (62, 62, 66), (0, 0, 0), (224, 222, 218), (196, 178, 80)),
        ),
        markings=tabby_markings,
    ),
}
