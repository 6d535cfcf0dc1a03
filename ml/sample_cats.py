"""The sample photos' cats as outlines: builds, poses and faces (no colours, no pixels).

Coordinates are cat units: x to the right, y downwards, the ground at y = 0, a sitting cat
about 1 high. Shapes: P = points of an outline, 2 = (x, y).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Surface = Literal["coat", "pale", "skin", "nose", "eye", "dark", "glint", "collar"]
Grain = Literal["bands", "rings", "fan"]


@dataclass(frozen=True, slots=True)
class Build:
    """Proportions of a body, in cat units; ``wedge`` and ``fluff`` are fractions."""

    girth: float
    half_length: float
    sitting_half_height: float
    neck: float
    head_rx: float
    head_ry: float
    wedge: float
    ear_height: float
    ear_half_width: float
    leg_half_width: float
    leg_length: float
    tail_half_width: float
    tail_length: float
    fluff: float
    eye: float


BUILDS: dict[str, Build] = {
    "round": Build(
        girth=0.285,
        half_length=0.40,
        sitting_half_height=0.33,
        neck=0.0,
        head_rx=0.245,
        head_ry=0.205,
        wedge=0.06,
        ear_height=0.13,
        ear_half_width=0.085,
        leg_half_width=0.07,
        leg_length=0.15,
        tail_half_width=0.075,
        tail_length=0.50,
        fluff=0.055,
        eye=0.050,
    ),
    "slim": Build(
        girth=0.165,
        half_length=0.43,
        sitting_half_height=0.37,
        neck=0.055,
        head_rx=0.168,
        head_ry=0.168,
        wedge=0.40,
        ear_height=0.205,
        ear_half_width=0.09,
        leg_half_width=0.042,
        leg_length=0.33,
        tail_half_width=0.033,
        tail_length=0.85,
        fluff=0.008,
        eye=0.043,
    ),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One painted shape; ``grain`` and ``heart`` say how stripes run over it.

    ``bands`` lie across the direction ``grain_rad``, ``rings`` go round ``heart`` and a ``fan``
    spreads from it. ``relief`` is how far the rounding of the edge reaches in, in cat units; a
    part without any is flat.
    """

    outline_P2: Points
    surface: Surface
    grain: Grain = "bands"
    heart: tuple[float, float] = (0.0, 0.0)
    grain_rad: float = 0.0
    relief: float = 0.0


@dataclass(frozen=True, slots=True)
class Posture:
    """A body in its pose, painted in order, and where its head belongs."""

    behind: tuple[Part, ...]
    head_at: tuple[float, float]


def grown(build: Build, rng: np.random.Generator, spread: float = 0.07) -> Build:
    """The build of one individual: each proportion within about ``spread`` of the typical."""
    return Build(
        **{
            field.name: getattr(build, field.name) * float(np.exp(rng.normal(0.0, spread)))
            for field in fields(Build)
        }
    )


def cat_parts(build: Build, pose: str, rng: np.random.Generator) -> tuple[Part, ...]:
    """Every part of a cat from the back to the front, in cat units."""
    posture = POSES[pose](build, rng)
    return (*posture.behind, *_collar(build, posture.head_at, rng), *_head(build, posture, rng))


def _ellipse(x: float, y: float, rx: float, ry: float, points: int = 40) -> Points:
    turn = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    return np.stack([x + rx * np.sin(turn), y - ry * np.cos(turn)], axis=1)


def _tapered(outline_P2: Points, y: float, ry: float, taper: float) -> Points:
    """The outline with its part below ``y - ry`` wider and above narrower, by ``taper``."""
    factor = 1.0 + taper * (outline_P2[:, 1] - y) / ry
    return np.stack([outline_P2[:, 0] * factor, outline_P2[:, 1]], axis=1)


def _fluffed(outline_P2: Points, fluff: float, rng: np.random.Generator) -> Points:
    """The outline with tufts: every other point pushed out by up to ``fluff`` of its radius."""
    middle = outline_P2.mean(axis=0)
    tufts = rng.uniform(0.2, 1.0, len(outline_P2)) * (np.arange(len(outline_P2)) % 2)
    return middle + (outline_P2 - middle) * (1.0 + fluff * tufts)[:, None]


def _limb(path_P2: Points, half_width_P: Points) -> Points:
    """The outline of a stroke along a path, with a round end."""
    along = np.gradient(path_P2, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) * half_width_P[:, None]
    left, right = path_P2 + across, path_P2 - across
    cap = path_P2[-1] + along[-1] * half_width_P[-1]
    return np.concatenate([left, cap[None], right[::-1]])


def _curve(*controls: tuple[float, float], points: int = 28) -> Points:
    """A Bezier curve through the first and the last control point."""
    t = np.linspace(0.0, 1.0, points)[:, None]
    level = [np.broadcast_to(np.asarray(control), (points, 2)) for control in controls]
    while len(level) > 1:
        level = [(1 - t) * a + t * b for a, b in zip(level, level[1:], strict=False)]
    return np.asarray(level[0])


def _tail(build: Build, controls: tuple[tuple[float, float], ...]) -> Part:
    path = _curve(*controls)
    width = build.tail_half_width * np.linspace(1.05, 0.7, len(path))
    return Part(_limb(path, width), "coat", "rings", controls[0], relief=0.05)


def _leg(build: Build, x: float, top: float, bottom: float) -> tuple[Part, Part]:
    path = _curve((x, top), (x, bottom - 0.02), points=8)
    width = build.leg_half_width * np.linspace(1.25, 0.9, len(path))
    paw = _ellipse(x, bottom - 0.03, build.leg_half_width * 1.2, 0.042)
    return (
        Part(_limb(path, width), "coat", grain_rad=np.pi / 2, relief=0.05),
        Part(paw, "coat", grain_rad=np.pi / 2, relief=0.04),
    )


def _sitting(build: Build, rng: np.random.Generator) -> Posture:
    half, girth, reach = build.sitting_half_height, build.girth, build.tail_length
    body = _tapered(_ellipse(0.0, -half, girth, half, 90), -half, half, 0.22)
    side = rng.choice([-1.0, 1.0])
    lift = rng.uniform(-0.1, 0.5)
    tail = (
        (0.6 * girth * side, -0.06),
        (side * (girth + reach * 0.6), 0.08),
        (side * (girth + reach * 0.7), -lift),
        (side * (girth + 0.25 * reach), -lift - 0.1),
    )
    haunch = [
        Part(
            _ellipse(s * girth * 0.82, -0.13, girth * 0.48, 0.135),
            "coat",
            "rings",
            (s * girth * 0.3, 0.0),
            relief=0.07,
        )
        for s in (-1.0, 1.0)
    ]
    chest = _fluffed(_ellipse(0.0, -half * 1.2, girth * 0.42, half * 0.55), 3 * build.fluff, rng)
    gap = max(build.leg_half_width * 1.15, girth * 0.3)
    legs = (*_leg(build, -gap, -half * 0.95, 0.0), *_leg(build, gap, -half * 0.95, 0.0))
    torso = Part(_fluffed(body, build.fluff, rng), "coat", grain_rad=np.pi / 2, relief=0.13)
    behind = (_tail(build, tail), torso, *haunch, Part(chest, "pale", relief=0.05), *legs)
    return Posture(behind, (rng.normal(0, 0.03), -1.92 * half - build.neck - build.head_ry * 0.5))


def _lying(build: Build, rng: np.random.Generator) -> Posture:
    length, girth = build.half_length * 1.12, build.girth * 0.88
    body = _ellipse(0.0, -girth, length, girth, 100)
    tail = (
        (length * 0.8, -0.1),
        (length + 0.5 * build.tail_length, -0.1),
        (length + 0.2 * build.tail_length, 0.12),
        (length - 0.6 * build.tail_length, -0.02),
    )
    haunch = _ellipse(length * 0.52, -girth * 0.72, length * 0.36, girth * 0.74)
    reach = -length * rng.uniform(0.75, 1.1)
    paws = [
        Part(_ellipse(reach + shift, -0.045, build.leg_half_width * 2.0, 0.05), "coat", relief=0.04)
        for shift in (0.16, 0.0)
    ]
    torso = Part(_fluffed(body, build.fluff, rng), "coat", relief=0.12)
    thigh = Part(haunch, "coat", "rings", (length * 0.4, 0.0), relief=0.08)
    behind = (torso, thigh, _tail(build, tail), *paws)
    return Posture(behind, (-length * 0.72, -2.0 * girth - build.neck - build.head_ry * 0.1))


def _standing(build: Build, rng: np.random.Generator) -> Posture:
    length, girth = build.half_length, build.girth * 0.85
    middle = -build.leg_length - girth * 0.75
    body = _ellipse(0.0, middle, length, girth, 100)
    swing, rise = rng.uniform(-0.1, 0.35), rng.uniform(0.35, 0.9) * build.tail_length
    tail = (
        (length * 0.85, middle - girth * 0.3),
        (length + 0.22, middle - 0.05),
        (length + 0.2 + swing, middle - rise),
        (length + swing, middle - rise - 0.1),
    )
    step = rng.uniform(-0.06, 0.06)
    far = [p for x in (-0.5 + step, 0.82 - step) for p in _leg(build, x * length, middle, -0.03)]
    near = [p for x in (-0.78 - step, 0.58 + step) for p in _leg(build, x * length, middle, 0.0)]
    torso = Part(_fluffed(body, build.fluff, rng), "coat", relief=0.11)
    behind = (_tail(build, tail), *far, *near, torso)
    head = (-length * 0.92, middle - girth * 0.75 - build.neck - build.head_ry * 0.35)
    return Posture(behind, head)


POSES: dict[str, Callable[[Build, np.random.Generator], Posture]] = {
    "sitting": _sitting,
    "lying": _lying,
    "standing": _standing,
}


def _collar(build: Build, at: tuple[float, float], rng: np.random.Generator) -> tuple[Part, ...]:
    if rng.random() > 0.25:
        return ()
    y = at[1] + build.head_ry * 0.86
    band = _ellipse(at[0], y, build.head_rx * 0.62, 0.05)
    bell = _ellipse(at[0], y + 0.055, 0.022, 0.022, 16)
    return Part(band, "collar", relief=0.03), Part(bell, "glint", relief=0.015)


@dataclass(frozen=True, slots=True)
class _Face:
    """Turns face units (head centre 0, half width and half height 1) into cat units."""

    build: Build
    at: tuple[float, float]
    tilt_rad: float
    turn: float

    def place(self, outline_P2: Points, depth: float = 0.0) -> Points:
        """The outline on this head; what stands ``depth`` before it moves with the turn."""
        x = (outline_P2[:, 0] + self.turn * depth) * self.build.head_rx
        y = outline_P2[:, 1] * self.build.head_ry
        cos, sin = np.cos(self.tilt_rad), np.sin(self.tilt_rad)
        return np.stack([x * cos - y * sin, x * sin + y * cos], axis=1) + np.asarray(self.at)


def _head(build: Build, posture: Posture, rng: np.random.Generator) -> tuple[Part, ...]:
    turn = float(np.clip(rng.normal(0.0, 0.16), -0.3, 0.3))
    face = _Face(build, posture.head_at, float(rng.normal(0.0, 0.13)), turn)
    skull = _ellipse(0.0, 0.0, 1.0, 1.0, 72)
    low = np.clip(skull[:, 1], 0.0, None)
    skull[:, 0] *= 1.0 - build.wedge * low**2
    fur = _fluffed(skull, build.fluff * 1.4, rng)
    nose = tuple(face.place(np.array([[0.0, 0.35]]), 1.0)[0])
    head = Part(face.place(fur), "coat", "fan", (nose[0], nose[1]), relief=0.1)
    eyes = _shut_eyes(face) if rng.random() < 0.08 else _eyes(face, rng)
    return (*_ears(face, rng), head, *_muzzle(face), *eyes, *_whiskers(face, rng))


def _ears(face: _Face, rng: np.random.Generator) -> tuple[Part, ...]:
    build = face.build
    height = build.ear_height / build.head_ry
    half = build.ear_half_width / build.head_rx
    parts: list[Part] = []
    for side in (-1.0, 1.0):
        x, lean = side * (0.93 - half), side * rng.uniform(0.05, 0.25)
        outer = np.array(
            [
                [x - half, -0.55],
                [x - half * 0.65 + lean * 0.6, -0.7 - height * 0.75],
                [x + lean, -0.78 - height],
                [x + half * 0.65 + lean * 0.6, -0.7 - height * 0.75],
                [x + half, -0.5],
            ]
        )
        centre = np.array([x + lean * 0.4, -0.72])
        inner = centre + (outer - centre) * np.array([0.58, 0.72])
        parts.append(Part(face.place(outer), "coat", relief=0.03))
        parts.append(Part(face.place(inner, 0.15), "skin", relief=0.02))
    return tuple(parts)


def _muzzle(face: _Face) -> tuple[Part, ...]:
    pads = [
        Part(face.place(_ellipse(s * 0.2, 0.52, 0.27, 0.25), 0.9), "pale", relief=0.04)
        for s in (-1.0, 1.0)
    ]
    chin = Part(face.place(_ellipse(0.0, 0.74, 0.2, 0.17), 0.8), "pale", relief=0.03)
    nose = np.array([[-0.13, 0.29], [0.0, 0.26], [0.13, 0.29], [0.03, 0.43], [-0.03, 0.43]])
    lip = _limb(_curve((0.0, 0.42), (0.0, 0.56), points=4), np.full(4, 0.015))
    smile = [
        _limb(_curve((0.0, 0.55), (s * 0.1, 0.68), (s * 0.26, 0.58), points=8), np.full(8, 0.016))
        for s in (-1.0, 1.0)
    ]
    lines = [Part(face.place(line, 1.0), "dark") for line in (lip, *smile)]
    return (chin, *pads, Part(face.place(nose, 1.05), "nose", relief=0.012), *lines)


def _eyes(face: _Face, rng: np.random.Generator) -> tuple[Part, ...]:
    rx, ry = face.build.eye / face.build.head_rx, face.build.eye / face.build.head_ry
    slit = rng.uniform(0.3, 0.8)
    parts: list[Part] = []
    for side in (-1.0, 1.0):
        x, y = side * 0.43, -0.02
        shapes: tuple[tuple[Points, Surface], ...] = (
            (_ellipse(x, y, rx * 1.22, ry * 1.18), "dark"),
            (_ellipse(x, y, rx, ry), "eye"),
            (_ellipse(x, y, rx * slit, ry * 0.9, 20), "dark"),
            (_ellipse(x - rx * 0.3, y - ry * 0.35, rx * 0.24, ry * 0.24, 12), "glint"),
        )
        parts += [Part(face.place(outline, 0.7), surface) for outline, surface in shapes]
    return tuple(parts)


def _shut_eyes(face: _Face) -> tuple[Part, ...]:
    lids = [
        _curve((s * 0.22, 0.0), (s * 0.43, 0.2), (s * 0.66, -0.04), points=10) for s in (-1.0, 1.0)
    ]
    return tuple(Part(face.place(_limb(lid, np.full(10, 0.03)), 0.7), "dark") for lid in lids)


def _whiskers(face: _Face, rng: np.random.Generator) -> tuple[Part, ...]:
    parts: list[Part] = []
    for side in (-1.0, 1.0):
        for rise in (-0.14, 0.02, 0.18):
            end = (side * rng.uniform(1.2, 1.5), 0.5 + rise * 2.2)
            path = _curve((side * 0.3, 0.52 + rise * 0.4), (side * 0.8, 0.45 + rise), end, points=6)
            hair = _limb(path, np.linspace(0.014, 0.004, 6))
            parts.append(Part(face.place(hair, 0.8), "glint"))
    return tuple(parts)
