"""The two builds of the sample photos' cats, and how individuals differ from them."""

from dataclasses import dataclass, fields

import numpy as np


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


def grown(build: Build, rng: np.random.Generator, spread: float = 0.05) -> Build:
    """The build of one individual: each proportion within about ``spread`` of the typical."""
    return Build(
        **{
            field.name: getattr(build, field.name) * float(np.exp(rng.normal(0.0, spread)))
            for field in fields(Build)
        }
    )
