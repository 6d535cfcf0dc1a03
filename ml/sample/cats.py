"""Poses of the sample photos' cats: bodies, legs and tails as outlines, in cat units."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ml.sample.builds import Build
from ml.sample.faces import head_parts
from ml.sample.outlines import Part, curve, ellipse, fluffed, grounded, limb, tapered


@dataclass(frozen=True, slots=True)
class Posture:
    """A body in its pose, painted in order, and where its head belongs."""

    behind: tuple[Part, ...]
    head_at: tuple[float, float]


def cat_parts(build: Build, pose: str, rng: np.random.Generator) -> tuple[Part, ...]:
    """Every part of a cat from the back to the front, in cat units."""
    posture = POSES[pose](build, rng)
    return (
        *posture.behind,
        *_collar(build, posture.head_at, rng),
        *head_parts(build, posture.head_at, rng),
    )


def _tail(build: Build, controls: tuple[tuple[float, float], ...]) -> Part:
    path = curve(*controls)
    width = build.tail_half_width * np.linspace(1.05, 0.7, len(path))
    return Part(limb(path, width), "coat", "rings", controls[0], relief=0.05)


def _leg(build: Build, x: float, top: float, bottom: float) -> tuple[Part, Part]:
    path = curve((x, top), (x, bottom - build.leg_half_width), points=8)
    width = build.leg_half_width * np.linspace(1.25, 0.9, len(path))
    paw = ellipse(x, bottom - 0.03, build.leg_half_width * 1.2, 0.042)
    return (
        Part(limb(path, width), "coat", grain_rad=np.pi / 2, relief=0.05),
        Part(paw, "coat", grain_rad=np.pi / 2, relief=0.04),
    )


def _sitting(build: Build, rng: np.random.Generator) -> Posture:
    half, girth, reach = build.sitting_half_height, build.girth, build.tail_length
    body = tapered(ellipse(0.0, -half, girth, half, 90), -half, half, 0.22)
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
            ellipse(s * girth * 0.82, -0.13, girth * 0.48, 0.135),
            "coat",
            "rings",
            (s * girth * 0.3, 0.0),
            relief=0.07,
        )
        for s in (-1.0, 1.0)
    ]
    bib = tapered(ellipse(0.0, -half * 1.2, girth * 0.4, half * 0.62), -half * 1.2, half, -0.9)
    chest = fluffed(bib, 3 * build.fluff, rng)
    gap = max(build.leg_half_width * 1.15, girth * 0.3)
    legs = (*_leg(build, -gap, -half * 0.75, 0.0), *_leg(build, gap, -half * 0.75, 0.0))
    torso = Part(
        grounded(fluffed(body, build.fluff, rng)), "coat", grain_rad=np.pi / 2, relief=0.13
    )
    behind = (_tail(build, tail), torso, *haunch, Part(chest, "pale", relief=0.05), *legs)
    return Posture(behind, (rng.normal(0, 0.03), -1.92 * half - build.neck - build.head_ry * 0.5))


def _lying(build: Build, rng: np.random.Generator) -> Posture:
    length, girth = build.half_length * 1.1, build.girth * 0.96
    body = ellipse(0.0, -girth, length, girth, 100)
    tail = (
        (length * 0.8, -0.1),
        (length + 0.5 * build.tail_length, -0.1),
        (length + 0.2 * build.tail_length, 0.12),
        (length - 0.6 * build.tail_length, -0.02),
    )
    haunch = ellipse(length * 0.52, -girth * 0.72, length * 0.36, girth * 0.74)
    reach = -length * rng.uniform(0.75, 1.1)
    paws = [
        Part(ellipse(reach + shift, -0.045, build.leg_half_width * 2.0, 0.05), "coat", relief=0.04)
        for shift in (0.16, 0.0)
    ]
    torso = Part(grounded(fluffed(body, build.fluff, rng)), "coat", relief=0.12)
    thigh = Part(haunch, "coat", "rings", (length * 0.4, 0.0), relief=0.08)
    behind = (torso, thigh, _tail(build, tail), *paws)
    return Posture(behind, (-length * 0.72, -2.0 * girth - build.neck - build.head_ry * 0.1))


def _standing(build: Build, rng: np.random.Generator) -> Posture:
    length, girth = build.half_length, build.girth * 0.85
    middle = -build.leg_length - girth * 0.75
    body = ellipse(0.0, middle, length, girth, 100)
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
    torso = Part(fluffed(body, build.fluff, rng), "coat", relief=0.11)
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
    band = ellipse(at[0], y, build.head_rx * 0.62, 0.05)
    bell = ellipse(at[0], y + 0.055, 0.022, 0.022, 16)
    return Part(band, "collar", relief=0.03), Part(bell, "glint", relief=0.015)
