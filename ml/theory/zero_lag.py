"""A range test's curve without the lag of a running average, and the two rules read from it.

An exponential average with beta 0.98 lags by about fifty steps, so its minimum sits up to a decade
of rate too far right. A Gaussian over the raw losses looks both ways and does not lag.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ml.theory.lr_rules import NoAnswerError

Floats = npt.NDArray[np.float64]

WIDTH_STEPS = 3.0
REACH_STEPS = 12
FEWEST_POINTS = 8
CLEAR_SHARE = 0.9
RELATIVE_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Descent:
    """How a curve falls: indices into it, and losses.

    ``start_loss`` is the level before the fall, ``noise`` the standard deviation of a single raw
    loss about the curve.
    """

    start_loss: float
    lowest: int
    fall: float
    noise: float

    @property
    def is_flat(self) -> bool:
        """Whether the fall is no more than rounding."""
        return self.fall <= RELATIVE_ROUNDING * abs(self.start_loss)


def zero_lag(losses: npt.ArrayLike) -> Floats:
    """The losses averaged by a Gaussian of three steps, high ones clipped first.

    The leading finite losses are averaged, the kernel renormalised at both ends; NaN follows them.
    Clipping at as far above the start as the lowest loss is below it keeps the explosion at the
    end from reaching back into the minimum.
    """
    y = np.asarray(losses, dtype=np.float64)
    curve = np.full(len(y), np.nan)
    raw = y[: leading_finite(y)]
    if len(raw) == 0:
        return curve
    start = _start_level(raw, int(np.argmin(raw)))
    clipped = np.minimum(raw, start + max(start - float(raw.min()), 0.0))
    reach = np.arange(-REACH_STEPS, REACH_STEPS + 1)
    kernel = np.exp(-0.5 * (reach / WIDTH_STEPS) ** 2)
    weights = np.convolve(np.ones(len(raw)), kernel)[REACH_STEPS:-REACH_STEPS]
    curve[: len(raw)] = np.convolve(clipped - start, kernel)[REACH_STEPS:-REACH_STEPS] / weights
    return curve + start


def leading_finite(losses: Floats) -> int:
    """How many losses come before the first one that is not finite."""
    broken = np.flatnonzero(~np.isfinite(losses))
    return int(broken[0]) if len(broken) else len(losses)


def descent(losses: npt.ArrayLike, curve: Floats) -> Descent:
    """Where and how far the zero-lag ``curve`` of these raw losses falls.

    Raises:
        NoAnswerError: there are fewer than 8 finite points.
    """
    raw = np.asarray(losses, dtype=np.float64)
    raw = raw[: min(leading_finite(raw), leading_finite(curve))]
    if len(raw) < FEWEST_POINTS:
        raise NoAnswerError("too_few_points", f"{len(raw)} finite points, {FEWEST_POINTS} needed")
    finite = curve[: len(raw)]
    lowest = int(np.argmin(finite))
    start = _start_level(finite, lowest)
    return Descent(start, lowest, start - float(finite[lowest]), _noise(raw))


def clear_descent_end(curve: Floats, fallen: Descent) -> int:
    """The first step at which nine tenths of the total fall have happened.

    Raises:
        NoAnswerError: the curve does not fall.
    """
    if fallen.is_flat:
        raise NoAnswerError("flat", "the loss never falls below its start")
    level = fallen.start_loss - CLEAR_SHARE * fallen.fall
    cleared = np.flatnonzero(curve[: fallen.lowest] <= level)
    return int(cleared[0]) if len(cleared) else fallen.lowest


def _start_level(losses: Floats, lowest: int) -> float:
    """The median of the first quarter of the way down: a level that one odd batch cannot set."""
    return float(np.median(losses[: lowest // 4 + 1]))


def _noise(raw: Floats) -> float:
    """Standard deviation of single losses, from second differences, which ignore any slope."""
    before = raw[: max(int(np.argmin(raw)) + 1, FEWEST_POINTS)]
    slopes = [after - now for now, after in pairwise(before.tolist())]
    bends = [after - now for now, after in pairwise(slopes)]
    return float(np.median(np.abs(bends))) / (0.6745 * 6**0.5)
