"""Outlines of the sample photos' shapes: ellipses, strokes, tufts, and the parts made of them.

Coordinates are cat units: x to the right, y downwards, the ground at y = 0, a sitting cat
about 1 high. Shapes: P = points of an outline or a path, 2 = (x, y).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Surface = Literal["coat", "pale", "skin", "nose", "eye", "dark", "glint", "collar"]
Grain = Literal["bands", "rings", "fan"]


@dataclass(frozen=True, slots=True)
class Part:
    """One painted shape; ``grain`` and ``heart`` say how stripes run over it.

    ``bands`` lie across the direction ``grain_rad``, ``rings`` go round ``heart`` and a ``fan``
    spreads from it. ``relief`` is how far the rounding of the edge reaches in, in cat units; a
    part without any is flat. The outline is P x 2.
    """

    outline: Points
    surface: Surface
    grain: Grain = "bands"
    heart: tuple[float, float] = (0.0, 0.0)
    grain_rad: float = 0.0
    relief: float = 0.0


def ellipse(x: float, y: float, rx: float, ry: float, points: int = 40) -> Points:
    """An upright ellipse around (x, y), clockwise from its top."""
    turn = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    return np.stack([x + rx * np.sin(turn), y - ry * np.cos(turn)], axis=1)


def tapered(outline_P2: Points, y: float, ry: float, taper: float) -> Points:
    """The outline wider below ``y`` and narrower above it: by ``taper`` at a distance of ``ry``."""
    factor = 1.0 + taper * (outline_P2[:, 1] - y) / ry
    return np.stack([outline_P2[:, 0] * factor, outline_P2[:, 1]], axis=1)


def fluffed(outline_P2: Points, fluff: float, rng: np.random.Generator) -> Points:
    """The outline with tufts: every other point pushed out by up to ``fluff`` of its radius."""
    middle = outline_P2.mean(axis=0)
    tufts = rng.uniform(0.2, 1.0, len(outline_P2)) * (np.arange(len(outline_P2)) % 2)
    return np.asarray(middle + (outline_P2 - middle) * (1.0 + fluff * tufts)[:, None])


def grounded(outline_P2: Points) -> Points:
    """The outline pressed flat where it would sink into the ground."""
    return np.asarray(np.minimum(outline_P2, np.array([np.inf, -0.012])))


def limb(path_P2: Points, half_width_P: Points) -> Points:
    """The outline of a stroke along a path, with round ends."""
    along = np.gradient(path_P2, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half_width_P[:, None]
    left, right = path_P2 + across, path_P2 - across
    back, front = -along[0] * half_width_P[0], along[-1] * half_width_P[-1]
    arc = np.linspace(-0.5, 0.5, 7)[:, None] * np.pi
    ahead = path_P2[-1] + front * np.cos(arc) - across[-1] * np.sin(arc)
    behind = path_P2[0] + back * np.cos(arc) + across[0] * np.sin(arc)
    return np.concatenate([left, ahead, right[::-1], behind])


def curve(*controls: tuple[float, float], points: int = 28) -> Points:
    """A Bezier curve through the first and the last control point."""
    t = np.linspace(0.0, 1.0, points)[:, None]
    level = [np.broadcast_to(np.asarray(control), (points, 2)) for control in controls]
    while len(level) > 1:
        level = [(1 - t) * a + t * b for a, b in pairwise(level)]
    return np.asarray(level[0])
