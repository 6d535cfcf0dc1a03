"""Heads of the sample photos' cats: ears, eyes, muzzle and whiskers as outlines.

Shapes: P = points of an outline, 2 = (x, y). Units: see ``ml.sample.outlines``; a face unit is
half the head's width sideways and half its height upwards.
"""

from dataclasses import dataclass

import numpy as np

from ml.sample.builds import Build
from ml.sample.outlines import Part, Points, Surface, curve, ellipse, fluffed, limb


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
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=1)
        return np.asarray(turned + np.asarray(self.at))


def head_parts(build: Build, at: tuple[float, float], rng: np.random.Generator) -> tuple[Part, ...]:
    """The head around ``at`` (cat units), its ears first, its whiskers last."""
    turn = float(np.clip(rng.normal(0.0, 0.16), -0.3, 0.3))
    face = _Face(build, at, float(rng.normal(0.0, 0.13)), turn)
    skull = ellipse(0.0, 0.0, 1.0, 1.0, 72)
    low = np.clip(skull[:, 1], 0.0, None)
    skull[:, 0] *= 1.0 - build.wedge * low**2
    fur = fluffed(skull, build.fluff * 1.4, rng)
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
        tip, bend = (x + lean, -0.75 - height), -0.7 - height * 0.62
        outer = np.concatenate(
            [
                curve((x - half, -0.5), (x - half * 0.9 + lean * 0.5, bend), tip, points=9),
                curve(tip, (x + half * 0.9 + lean * 0.5, bend), (x + half, -0.45), points=9)[1:],
            ]
        )
        centre = np.array([x + lean * 0.4, -0.72])
        inner = centre + (outer - centre) * np.array([0.58, 0.72])
        parts.append(Part(face.place(outer), "coat", relief=0.03))
        parts.append(Part(face.place(inner, 0.15), "skin", relief=0.02))
    return tuple(parts)


def _muzzle(face: _Face) -> tuple[Part, ...]:
    pads = [
        Part(face.place(ellipse(s * 0.2, 0.52, 0.27, 0.25), 0.9), "pale", relief=0.04)
        for s in (-1.0, 1.0)
    ]
    chin = Part(face.place(ellipse(0.0, 0.74, 0.2, 0.17), 0.8), "pale", relief=0.03)
    nose = np.array([[-0.13, 0.29], [0.0, 0.26], [0.13, 0.29], [0.03, 0.43], [-0.03, 0.43]])
    lip = limb(curve((0.0, 0.42), (0.0, 0.56), points=4), np.full(4, 0.015))
    smile = [
        limb(curve((0.0, 0.55), (s * 0.1, 0.68), (s * 0.26, 0.58), points=8), np.full(8, 0.016))
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
            (ellipse(x, y, rx * 1.22, ry * 1.18), "dark"),
            (ellipse(x, y, rx, ry), "eye"),
            (ellipse(x, y, rx * slit, ry * 0.9, 20), "dark"),
            (ellipse(x - rx * 0.3, y - ry * 0.35, rx * 0.24, ry * 0.24, 12), "glint"),
        )
        parts += [Part(face.place(outline, 0.7), surface) for outline, surface in shapes]
    return tuple(parts)


def _shut_eyes(face: _Face) -> tuple[Part, ...]:
    lids = [
        curve((s * 0.22, 0.0), (s * 0.43, 0.2), (s * 0.66, -0.04), points=10) for s in (-1.0, 1.0)
    ]
    return tuple(Part(face.place(limb(lid, np.full(10, 0.03)), 0.7), "dark") for lid in lids)


def _whiskers(face: _Face, rng: np.random.Generator) -> tuple[Part, ...]:
    parts: list[Part] = []
    for side in (-1.0, 1.0):
        for rise in (-0.14, 0.02, 0.18):
            end = (side * rng.uniform(1.2, 1.5), 0.5 + rise * 2.2)
            path = curve((side * 0.3, 0.52 + rise * 0.4), (side * 0.8, 0.45 + rise), end, points=6)
            hair = limb(path, np.linspace(0.014, 0.004, 6))
            parts.append(Part(face.place(hair, 0.8), "glint"))
    return tuple(parts)
