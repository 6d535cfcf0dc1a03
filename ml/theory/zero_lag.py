"""A range test's curve without the lag of a running average, and the two rules read from it.

An exponential average with beta 0.98 lags by about fifty steps, so its minimum sits up to a decade
of rate too far right. A Gaussian over the raw losses looks both ways and does not lag. Its width is
counted in decades of rate, so that the curve is the same however many steps a sweep has.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
import numpy.typing as npt

from ml.theory.lr_rules import NoAnswerError

Floats = npt.NDArray[np.float64]

WIDTH_DECADES = 0.24
USUAL_WIDTH_STEPS = 3.0
"""The width in a sweep of 100 steps over eight decades."""
LEAST_WIDTH_STEPS = 1.0
MOST_POINTS_SHARE = 0.1
REACH_WIDTHS = 4
FEWEST_POINTS = 8
SPIKE_OVER_NOISE = 8.0
SPIKE_SHARE_OF_FALL = 0.25
CLEAR_SHARE = 0.9
RELATIVE_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Descent:
    """How a curve falls: indices into it, and losses.

    ``start_loss`` is the level before the fall. ``noise`` is the standard deviation of a single raw
    loss about the curve, times the root of 3 over the Gaussian's width in steps: averaged over
    more losses, a smaller fall says as much.
    """

    start_loss: float
    lowest: int
    fall: float
    noise: float

    @property
    def is_flat(self) -> bool:
        """Whether the fall is no more than rounding."""
        return self.fall <= RELATIVE_ROUNDING * abs(self.start_loss)


def width_steps(lrs: npt.ArrayLike) -> float:
    """Standard deviation of the Gaussian in steps: 0.24 decades of these ascending rates.

    At least 1, and at most a tenth of the points unless that is below 3.
    """
    rates = np.asarray(lrs, dtype=np.float64)
    if len(rates) < 2:
        return USUAL_WIDTH_STEPS
    decades_per_step = float(np.median(np.diff(np.log10(rates))))
    most = max(USUAL_WIDTH_STEPS, MOST_POINTS_SHARE * len(rates))
    if decades_per_step * most <= WIDTH_DECADES:
        return most
    # rounded, so that equal ratios that differ in their last bits have one width
    return max(round(WIDTH_DECADES / decades_per_step, 3), LEAST_WIDTH_STEPS)


def zero_lag(losses: npt.ArrayLike, *, width: float = USUAL_WIDTH_STEPS) -> Floats:
    """The losses averaged by a Gaussian of this many steps, high ones clipped first.

    The leading finite losses are averaged, the kernel renormalised at both ends; NaN follows them.
    Clipping at as far above the start as the lowest loss is below it keeps the explosion at the
    end from reaching back into the minimum. A single loss far above both of its neighbours counts
    as their mean.
    """
    y = np.asarray(losses, dtype=np.float64)
    curve = np.full(len(y), np.nan)
    raw = y[: leading_finite(y)]
    if len(raw) == 0:
        return curve
    start = _start_level(raw, int(np.argmin(raw)))
    fall = max(start - float(raw.min()), 0.0)
    clipped = np.minimum(_without_spikes(raw, fall), start + fall)
    beyond = ceil(REACH_WIDTHS * width)
    kernel = np.exp(-0.5 * (np.arange(-beyond, beyond + 1) / width) ** 2)
    weights = np.convolve(np.ones(len(raw)), kernel)[beyond:-beyond]
    curve[: len(raw)] = np.convolve(clipped - start, kernel)[beyond:-beyond] / weights
    return curve + start


def _without_spikes(raw: Floats, fall: float) -> Floats:
    """The losses; a spike, which stands out by much noise and much of the fall, is levelled."""
    if len(raw) < FEWEST_POINTS:
        return raw
    beside = np.maximum(raw[:-2], raw[2:])
    least = max(SPIKE_OVER_NOISE * _noise(raw), SPIKE_SHARE_OF_FALL * fall)
    spikes = np.flatnonzero(raw[1:-1] > beside + least) + 1
    levelled = raw.copy()
    levelled[spikes] = (raw[spikes - 1] + raw[spikes + 1]) / 2
    return levelled


def leading_finite(losses: Floats) -> int:
    """How many losses come before the first one that is not finite."""
    broken = np.flatnonzero(~np.isfinite(losses))
    return int(broken[0]) if len(broken) else len(losses)


def descent(losses: npt.ArrayLike, curve: Floats, *, width: float = USUAL_WIDTH_STEPS) -> Descent:
    """Where and how far the zero-lag ``curve`` of these raw losses and this width falls.

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
    noise = _noise(raw) * (USUAL_WIDTH_STEPS / width) ** 0.5
    return Descent(start, lowest, start - float(finite[lowest]), noise)


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
