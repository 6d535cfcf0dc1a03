"""Rates and momenta step by step: the sweep of a range test, one cycle, and both phases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, inf, isfinite, pi
from typing import Literal

from ml.theory.errors import InvalidInputError

MOMENTA = (0.95, 0.85, 0.95)
SWEEP_MOMENTUM = 0.9
FROZEN_PCT_START = 0.99
FROZEN_DIV = 25.0


def exponential_sweep(start: float, end: float, num_steps: int) -> tuple[float, ...]:
    """Rates of a range test: equal ratios from ``start``, one a step, ending just below ``end``.

    Step i has the rate ``start * (end / start) ** (i / num_steps)``, as in fastai, so ``end``
    itself is never used.

    Raises:
        InvalidInputError: a rate is not positive, or there are no steps.
    """
    _require(0 < start < inf, "start_lr", f"start_lr is {start}; use a rate above 0")
    _require(0 < end < inf, "end_lr", f"end_lr is {end}; use a rate above 0")
    _require(num_steps >= 1, "num_steps", f"num_steps is {num_steps}; use at least 1")
    return tuple(start * (end / start) ** (step / num_steps) for step in range(num_steps))


class LossSmoother:
    """An exponential average of a run's losses, corrected for its start at zero.

    The same correction as in Kingma & Ba 2015, arXiv:1412.6980, section 3. The average lags by
    about ``1 / (1 - beta)`` steps; a NaN stays.
    """

    def __init__(self, beta: float = 0.98) -> None:
        _require(0 <= beta < 1, "beta", f"beta is {beta}; use 0 up to below 1")
        self._beta = beta
        self._average = 0.0
        self._count = 0

    def update(self, loss: float) -> float:
        """The average with this loss in it."""
        self._count += 1
        self._average = self._beta * self._average + (1 - self._beta) * loss
        return self._average / (1 - self._beta**self._count)


def smooth(losses: Iterable[float], beta: float = 0.98) -> tuple[float, ...]:
    """The running averages after each loss, as `LossSmoother` gives them."""
    smoother = LossSmoother(beta)
    return tuple(smoother.update(loss) for loss in losses)


class DivergenceStop:
    """Says when a range test has diverged: the smoothed loss is above ``factor`` times its best.

    The best is updated first, as in fastai. NaN never stops a run by itself.
    """

    def __init__(self, factor: float = 4.0) -> None:
        self._factor = factor
        self._best = inf

    def update(self, smoothed: float) -> bool:
        """True when the run is over with this smoothed loss, which still belongs to the record."""
        if smoothed < self._best:
            self._best = smoothed
        return smoothed > self._factor * self._best


@dataclass(frozen=True, slots=True)
class OneCycle:
    """``lr[step][group]`` and ``momentum[step]`` of one cycle."""

    lr: tuple[tuple[float, ...], ...]
    momentum: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleShape:
    """A warm-up and a decay, both half cosines, before any step of it is worked out.

    Smith 2018, arXiv:1803.09820; cosines instead of straight lines as in fastai. Step i stands at
    ``i / num_steps``, so the last rate is above ``peak / div_final``.
    """

    num_steps: int
    """Optimiser steps; 0 is an empty cycle."""
    peaks: tuple[float, ...]
    """Highest rate of each layer group."""
    pct_start: float = 0.25
    """Share of the steps that warm up, in [0, 1]."""
    div: float = 25.0
    """The first rate is the peak over this."""
    div_final: float = 1e5
    """The rate after the last step would be the peak over this."""
    momenta: tuple[float, float, float] = MOMENTA
    """At the start, at the peak and at the end."""

    def __post_init__(self) -> None:
        """Refuse numbers outside their ranges."""
        steps, pct, div, final = self.num_steps, self.pct_start, self.div, self.div_final
        _require(steps >= 0, "num_steps", f"num_steps is {steps}; use 0 or more")
        _require(0 <= pct <= 1, "pct_start", f"pct_start is {pct}; use 0 to 1")
        _require(0 < div < inf, "div", f"div is {div}; use a number above 0")
        _require(0 < final < inf, "div_final", f"div_final is {final}; use a number above 0")

    def at(self, steps: Iterable[int]) -> OneCycle:
        """Rates and momentum of these steps, each in [0, num_steps), in their order."""
        places = [step / self.num_steps for step in steps]
        ends = (1 / self.div, 1.0, 1 / self.div_final)
        scales = [_two_cosines(place, self.pct_start, ends) for place in places]
        return OneCycle(
            lr=tuple(tuple(scale * peak for peak in self.peaks) for scale in scales),
            momentum=tuple(_two_cosines(place, self.pct_start, self.momenta) for place in places),
        )

    @property
    def highest_step(self) -> int:
        """The step with the highest rate, the first of equals; 0 in an empty cycle."""
        near = int(self.pct_start * self.num_steps)
        close = [step for step in (near - 1, near, near + 1) if 0 <= step < self.num_steps]
        ends = (1 / self.div, 1.0, 1 / self.div_final)
        return max(
            close,
            key=lambda step: _two_cosines(step / self.num_steps, self.pct_start, ends),
            default=max(self.num_steps - 1, 0),
        )


def one_cycle(
    num_steps: int,
    peaks: Sequence[float],
    *,
    pct_start: float = 0.25,
    div: float = 25.0,
    div_final: float = 1e5,
    momenta: tuple[float, float, float] = MOMENTA,
) -> OneCycle:
    """Rate and momentum of every step of a `CycleShape` with these numbers.

    Raises:
        InvalidInputError: an argument is outside its range.
    """
    shape = CycleShape(
        num_steps=num_steps,
        peaks=tuple(peaks),
        pct_start=pct_start,
        div=div,
        div_final=div_final,
        momenta=momenta,
    )
    return shape.at(range(num_steps))


@dataclass(frozen=True, slots=True)
class FineTunePlan:
    """What both phases of a fine-tune need; peaks are one rate for each layer group.

    ``pct_start`` and ``div`` shape the unfrozen phase only: as in fastai the frozen phase warms up
    for 99 % of its steps from a 25th of its peak. ``div_final`` and ``momenta`` shape both.
    """

    epochs: int
    freeze_epochs: int
    steps_per_epoch: int
    frozen_peaks: tuple[float, ...]
    unfrozen_peaks: tuple[float, ...]
    pct_start: float = 0.3
    div: float = 5.0
    div_final: float = 1e5
    momenta: tuple[float, float, float] = MOMENTA

    def __post_init__(self) -> None:
        """Refuse negative counts and peaks that are no rates."""
        for field in ("epochs", "freeze_epochs", "steps_per_epoch"):
            count = getattr(self, field)
            _require(count >= 0, field, f"{field} is {count}; use 0 or more")
        for peak in (*self.frozen_peaks, *self.unfrozen_peaks):
            usable = isfinite(peak) and peak >= 0
            _require(usable, "learning_rate", f"a peak rate is {peak}; use a finite rate")


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of a fine-tune: ``lr[step][group]`` and ``momentum[step]``."""

    name: Literal["frozen", "unfrozen"]
    epochs: int
    lr: tuple[tuple[float, ...], ...]
    momentum: tuple[float, ...]


def fine_tune_shapes(plan: FineTunePlan) -> tuple[CycleShape, CycleShape]:
    """The cycles of the frozen and of the unfrozen phase, in this order.

    Howard & Ruder 2018, arXiv:1801.06146, sections 3.2 and 3.3, with fastai's numbers.
    """
    frozen = CycleShape(
        num_steps=plan.freeze_epochs * plan.steps_per_epoch,
        peaks=plan.frozen_peaks,
        pct_start=FROZEN_PCT_START,
        div=FROZEN_DIV,
        div_final=plan.div_final,
        momenta=plan.momenta,
    )
    unfrozen = CycleShape(
        num_steps=plan.epochs * plan.steps_per_epoch,
        peaks=plan.unfrozen_peaks,
        pct_start=plan.pct_start,
        div=plan.div,
        div_final=plan.div_final,
        momenta=plan.momenta,
    )
    return frozen, unfrozen


def fine_tune_phases(plan: FineTunePlan) -> tuple[Phase, Phase]:
    """Every step of `fine_tune_shapes`; a phase of no epochs has no steps."""
    frozen, unfrozen = (shape.at(range(shape.num_steps)) for shape in fine_tune_shapes(plan))
    return (
        Phase("frozen", plan.freeze_epochs, frozen.lr, frozen.momentum),
        Phase("unfrozen", plan.epochs, unfrozen.lr, unfrozen.momentum),
    )


def _two_cosines(place: float, pct_start: float, ends: tuple[float, float, float]) -> float:
    start, peak, final = ends
    if place < pct_start:
        return _half_cosine(start, peak, place / pct_start)
    return _half_cosine(peak, final, (place - pct_start) / (1 - pct_start))


def _half_cosine(start: float, end: float, place: float) -> float:
    return start + (1 + cos(pi * (1 - place))) * (end - start) / 2


def _require(holds: bool, field: str, message: str) -> None:
    if not holds:
        raise InvalidInputError(field, message)
