"""What torch-lr-finder 0.2.2 and Lightning 2.6.6 make of a range test, for comparison only.

Nothing here is recommended. torch-lr-finder takes the steepest fall by step, which is by log rate;
a NaN counts as steepest of all. Lightning takes the steepest fall by the rate ITSELF: at 1e-7 the
same fall of the loss looks a million times steeper than at 1e-1, so its rate is mostly one of the
first it may choose from, whatever the network learns there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import numpy.typing as npt

from ml.theory.errors import InvalidInputError
from ml.theory.lr_rules import NoAnswerError
from ml.theory.lr_suggestions import CurveWarning, Marker, Suggestion

Floats = npt.NDArray[np.float64]

SKIPPED_AT_START = 10
SKIPPED_AT_END = {"torch_lr_finder": 5, "lightning": 1}
TORCH_LR_FINDER_SHARE = 0.05
TORCH_LR_FINDER_STOP = 5.0
LIGHTNING_BETA = 0.98
LIGHTNING_STOP = 4.0


@dataclass(frozen=True, slots=True)
class PeerSuggestions:
    """Each peer's rate, or None and a warning whose ``reason`` says why.

    A reason is ``too_few_points`` or ``no_finite_loss``. The code ``torch_lr_finder_at_nan`` warns
    of a rate that is only where the loss stopped being a number.
    """

    torch_lr_finder: Suggestion | None
    lightning: Suggestion | None
    warnings: tuple[CurveWarning, ...]


def compare(lrs: Sequence[float], losses: Sequence[float]) -> PeerSuggestions:
    """Both peers' answers for a recorded curve, NaN where a loss was not finite.

    The losses are read as they are: each peer smooths its own in another way.

    Raises:
        InvalidInputError: there is not one loss for each rate.
    """
    if len(lrs) != len(losses):
        raise InvalidInputError("losses", f"{len(lrs)} rates, {len(losses)} losses")
    warnings: list[CurveWarning] = []
    found: dict[str, Suggestion | None] = {}
    for peer, step_of in (("torch_lr_finder", torch_lr_finder), ("lightning", lightning)):
        try:
            found[peer] = _suggestion(lrs, losses, step_of(lrs, losses))
        except NoAnswerError as none:
            found[peer] = None
            warnings.append(CurveWarning(f"{peer}_unavailable", str(none), peer, none.reason))
    if found["torch_lr_finder"] is not None and np.isnan(_slopes_by_step(losses)).any():
        warnings.append(CurveWarning("torch_lr_finder_at_nan", _AT_NAN, "torch_lr_finder"))
    return PeerSuggestions(found["torch_lr_finder"], found["lightning"], tuple(warnings))


def torch_lr_finder(lrs: Sequence[float], losses: npt.ArrayLike) -> int:
    """The step of the least slope by step, the first on ties; that of the first NaN slope if any.

    The first 10 and the last 5 steps are not read. Slopes are central differences. The rates
    themselves play no part.

    Raises:
        NoAnswerError: there are fewer than 17 points.
    """
    needed = SKIPPED_AT_START + SKIPPED_AT_END["torch_lr_finder"] + 2
    if len(lrs) < needed:
        raise NoAnswerError("too_few_points", f"{len(lrs)} points, {needed} needed")
    return SKIPPED_AT_START + int(np.argmin(_slopes_by_step(losses)))


def lightning(lrs: Sequence[float], losses: npt.ArrayLike) -> int:
    """The step of the least slope by the rate itself, the first on ties.

    The first 10 and the last step are not read, nor losses that are not finite; slopes are in
    float32 and of second order, one-sided at the ends.

    Raises:
        NoAnswerError: fewer than 2 finite losses are left.
    """
    inside = slice(SKIPPED_AT_START, -SKIPPED_AT_END["lightning"])
    with np.errstate(over="ignore"):
        y = np.asarray(losses, dtype=np.float32)[inside]
    x = np.asarray(lrs, dtype=np.float32)[inside]
    finite = np.flatnonzero(np.isfinite(y))
    if len(finite) < 2:
        reason = "no_finite_loss" if len(y) >= 2 and not len(finite) else "too_few_points"
        raise NoAnswerError(reason, f"{len(finite)} finite losses after the first 10, 2 needed")
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        slopes = np.gradient(y[finite], x[finite])
    return SKIPPED_AT_START + int(finite[np.argmin(slopes)])


def torch_lr_finder_sweep(start: float, end: float, num_steps: int) -> tuple[float, ...]:
    """Rates of equal ratios from ``start`` to ``end``, which is reached.

    A layer group that has a rate of its own and no given start sweeps from that one.

    Raises:
        InvalidInputError: a rate is not positive, or there are fewer than 2 steps.
    """
    _check_sweep(start, end, num_steps, fewest=2)
    ratio = end / start
    return tuple(start * ratio ** (step / (num_steps - 1)) for step in range(num_steps))


def lightning_sweep(start: float, end: float, num_steps: int) -> tuple[float, ...]:
    """Rates from ``start`` to ``end``, which is reached; the first ratio is twice as wide.

    Raises:
        InvalidInputError: a rate is not positive, or there are no steps.
    """
    _check_sweep(start, end, num_steps, fewest=1)
    places = [0.0, *((step + 1) / num_steps for step in range(1, num_steps))]
    return tuple(start * (end / start) ** place for place in places)


def torch_lr_finder_smooth(
    losses: Iterable[float], share: float = TORCH_LR_FINDER_SHARE
) -> tuple[float, ...]:
    """Exponential averages that begin at the first loss; a new loss has this share."""
    averages: list[float] = []
    for loss in losses:
        averages.append(share * loss + (1 - share) * averages[-1] if averages else loss)
    return tuple(averages)


def lightning_smooth(losses: Iterable[float], beta: float = LIGHTNING_BETA) -> tuple[float, ...]:
    """Exponential averages that begin at 0, corrected for one step too many.

    So the curve of a constant loss rises from about half of it (0.505 for 0.98) to all of it.
    """
    average, smoothed = 0.0, []
    for count, loss in enumerate(losses, start=1):
        average = beta * average + (1 - beta) * loss
        smoothed.append(average / (1 - beta ** (count + 1)))
    return tuple(smoothed)


def torch_lr_finder_stop(
    smoothed: Iterable[float], factor: float = TORCH_LR_FINDER_STOP
) -> int | None:
    """The step at which the run ends: the first above ``factor`` times the best up to there.

    That step is recorded; None when no step is. A NaN at the start lets it run to its end.
    """
    best = nan
    for step, loss in enumerate(smoothed):
        best = loss if step == 0 or loss < best else best
        if loss > factor * best:
            return step
    return None


def lightning_stop(smoothed: Iterable[float], factor: float = LIGHTNING_STOP) -> int | None:
    """The step at which the run ends: the first after the first above ``factor`` times the best.

    The best is that of the steps before. That step is recorded; None when no step is.
    """
    best = inf
    for step, loss in enumerate(smoothed):
        if step > 0 and loss > factor * best:
            return step
        best = loss if step == 0 or loss < best else best
    return None


_AT_NAN = "this is where the loss stops being a number, which counts as the steepest fall"


def _suggestion(lrs: Sequence[float], losses: Sequence[float], step: int) -> Suggestion:
    loss = float(losses[step])
    return Suggestion(lrs[step], Marker(lrs[step], loss if abs(loss) < inf else None), step)


def _slopes_by_step(losses: npt.ArrayLike) -> Floats:
    y = np.asarray(losses, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        slopes: Floats = np.gradient(y[SKIPPED_AT_START : -SKIPPED_AT_END["torch_lr_finder"]])
    return slopes


def _check_sweep(start: float, end: float, num_steps: int, *, fewest: int) -> None:
    for field, rate in (("start_lr", start), ("end_lr", end)):
        if not 0 < rate < inf:
            raise InvalidInputError(field, f"{field} is {rate}; use a rate above 0")
    if num_steps < fewest:
        raise InvalidInputError("num_steps", f"num_steps is {num_steps}; use at least {fewest}")
