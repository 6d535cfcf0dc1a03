"""What a learning-rate range test says: every rule's rate, and the one to recommend.

``valley``, ``steepest``, ``slide`` and ``minimum_over_10`` are fastai's and read its smoothed
losses. ``minimum_over_10_zero_lag`` and ``last_clear_descent`` read the curve of
`ml.theory.zero_lag`. A rule that cannot answer is None, with a coded warning.

The recommendation is the median in log rate of ``valley``, ``minimum_over_10_zero_lag`` and
``last_clear_descent``. The minimum comes from the zero-lag curve because the smoothed one sits up
to a decade too high, where the loss has turned long before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml.theory import lr_rules
from ml.theory.errors import InvalidInputError
from ml.theory.lr_recommendation import Recommendation, recommend, recommend_for_body
from ml.theory.lr_rules import NoAnswerError, Trim
from ml.theory.zero_lag import Descent, clear_descent_end, descent, zero_lag

Floats = npt.NDArray[np.float64]

RULES = (
    "minimum_over_10",
    "minimum_over_10_zero_lag",
    "last_clear_descent",
    "steepest",
    "valley",
    "slide",
)
CONSENSUS = ("valley", "minimum_over_10_zero_lag", "last_clear_descent")
DIVERGED_FACTOR = 4.0
LEAST_RATE = 1e-30
CLEAR_DESCENT_DIVISOR = 3.0


@dataclass(frozen=True, slots=True)
class Marker:
    """The point of the curve that a rule looked at; the loss is None when it is not finite."""

    lr: float
    loss: float | None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule's rate, the point it came from, and that point's 0-based recorded step."""

    lr: float
    marker: Marker | None
    step: int | None


@dataclass(frozen=True, slots=True)
class CurveWarning:
    """Something to know about the curve or a rule.

    ``code`` is ``<rule>_unavailable`` (then ``rule`` and ``reason`` are set: ``too_few_points``,
    ``no_finite_loss``, ``diverged_at_once`` or ``flat``), ``flat`` or ``at_edge_of_range``.
    """

    code: str
    detail: str
    rule: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class LrAnalysis:
    """All that a range test says; ``zero_lag`` is as long as the record, None where unknown."""

    suggestions: Mapping[str, Suggestion | None]
    recommended: Recommendation | None
    warnings: tuple[CurveWarning, ...]
    zero_lag: tuple[float | None, ...]


def analyse(
    lrs: Sequence[float],
    losses_raw: Sequence[float],
    *,
    smoothed: Sequence[float] | None = None,
    num_steps: int = 100,
    trim: Trim = "fastai",
    of_body: bool = False,
) -> LrAnalysis:
    """Every rule's answer for a recorded range test.

    Args:
        lrs: the rate of each recorded step, ascending.
        losses_raw: the loss of each step; from the first that is not finite on, unused.
        smoothed: the running averages that fastai's rules read; None when ``losses_raw`` are
            smoothed already and serve both.
        num_steps: the steps that were planned, of which a tenth is trimmed.
        trim: ``fastai`` drops the first tenth and the last five points for every rule.
        of_body: a layer group of the body moved alone, so that the recommendation is neither
            clipped nor replaced by a default.

    Raises:
        InvalidInputError: lengths differ, or the rates do not ascend.
    """
    curve = _Curve.of(lrs, losses_raw, losses_raw if smoothed is None else smoothed, num_steps)
    steps = lr_rules.usable(curve.smoothed, num_steps=num_steps, trim=trim)
    warnings: list[CurveWarning] = []
    suggestions: dict[str, Suggestion | None] = {}
    fallen = curve.fallen(steps)
    for rule in RULES:
        try:
            suggestions[rule] = _FINDERS[rule](curve, steps)
        except NoAnswerError as no_answer:
            suggestions[rule] = None
            warnings.append(_unavailable(rule, curve.reason(no_answer.reason, steps), no_answer))
    edge = _at_edge(curve, fallen, steps)
    return LrAnalysis(
        suggestions=suggestions,
        recommended=_recommended(suggestions, fallen, edge, of_body=of_body),
        warnings=(*warnings, *_curve_warnings(fallen, edge)),
        zero_lag=tuple(loss if isfinite(loss) else None for loss in curve.zero_lag.tolist()),
    )


@dataclass(frozen=True, slots=True)
class _Curve:
    """A recorded range test; losses are NaN where they were not finite."""

    lrs: Floats
    raw: Floats
    smoothed: Floats
    zero_lag: Floats
    num_steps: int

    @classmethod
    def of(
        cls,
        lrs: Sequence[float],
        losses_raw: Sequence[float],
        smoothed: Sequence[float],
        num_steps: int,
    ) -> "_Curve":
        x = np.asarray(lrs, dtype=np.float64)
        y = np.asarray(losses_raw, dtype=np.float64)
        s = np.asarray(smoothed, dtype=np.float64)
        if not len(x) == len(y) == len(s):
            raise InvalidInputError("losses", f"{len(x)} rates, {len(y)} losses, {len(s)} smoothed")
        if not np.all((x >= LEAST_RATE) & (x <= 1 / LEAST_RATE)) or not np.all(np.diff(x) > 0):
            raise InvalidInputError("lrs", "the rates must ascend within 1e-30 to 1e30")
        y, s = _nan_unless_finite(y), _nan_unless_finite(s)
        return cls(x, y, s, zero_lag(y), num_steps)

    def reason(self, reason: str, steps: range) -> str:
        """The code for too few points, made more exact by how the record ended."""
        if reason != "too_few_points":
            return reason
        first = steps.start if steps.start < len(self.smoothed) else 0
        if not np.isfinite(self.smoothed[first:]).any():
            return "no_finite_loss"
        last, best = self.smoothed[-1], np.nanmin(self.smoothed)
        short = len(self.lrs) < self.num_steps
        return "diverged_at_once" if short and not last <= DIVERGED_FACTOR * best else reason

    def fallen(self, steps: range) -> Descent | None:
        """The fall within the usable steps; None when there are too few."""
        inside = slice(steps.start, steps.stop)
        try:
            return descent(self.raw[inside], self.zero_lag[inside])
        except NoAnswerError:
            return None

    def suggestion(self, step: int, divisor: float, losses: Floats) -> Suggestion:
        lr, loss = float(self.lrs[step]), float(losses[step])
        return Suggestion(lr / divisor, Marker(lr, loss if isfinite(loss) else None), step)


def _nan_unless_finite(losses: Floats) -> Floats:
    """The losses, NaN for those that float32 cannot hold."""
    return np.where(np.abs(losses) <= np.finfo(np.float32).max, losses, np.nan)


def _minimum_over_10(curve: _Curve, steps: range) -> Suggestion:
    step = steps[lr_rules.minimum(curve.smoothed[steps.start : steps.stop])]
    return curve.suggestion(step, 10.0, curve.smoothed)


def _steepest(curve: _Curve, steps: range) -> Suggestion:
    inside = slice(steps.start, steps.stop)
    step = steps[lr_rules.steepest(curve.lrs[inside], curve.smoothed[inside])]
    return curve.suggestion(step, 1.0, curve.smoothed)


def _valley(curve: _Curve, steps: range) -> Suggestion:
    step = steps[lr_rules.valley(curve.smoothed[steps.start : steps.stop])]
    return curve.suggestion(step, 1.0, curve.smoothed)


def _slide(curve: _Curve, steps: range) -> Suggestion:
    step = steps[lr_rules.slide(curve.smoothed[steps.start : steps.stop])]
    return curve.suggestion(step, 1.0, curve.smoothed)


def _minimum_over_10_zero_lag(curve: _Curve, steps: range) -> Suggestion:
    inside = slice(steps.start, steps.stop)
    fallen = descent(curve.raw[inside], curve.zero_lag[inside])
    if fallen.is_flat:
        raise NoAnswerError("flat", "the loss never falls below its start")
    return curve.suggestion(steps[fallen.lowest], 10.0, curve.zero_lag)


def _last_clear_descent(curve: _Curve, steps: range) -> Suggestion:
    inside = slice(steps.start, steps.stop)
    fallen = descent(curve.raw[inside], curve.zero_lag[inside])
    step = steps[clear_descent_end(curve.zero_lag[inside], fallen)]
    return curve.suggestion(step, CLEAR_DESCENT_DIVISOR, curve.zero_lag)


_FINDERS: Mapping[str, Callable[[_Curve, range], Suggestion]] = {
    "minimum_over_10": _minimum_over_10,
    "minimum_over_10_zero_lag": _minimum_over_10_zero_lag,
    "last_clear_descent": _last_clear_descent,
    "steepest": _steepest,
    "valley": _valley,
    "slide": _slide,
}


def _recommended(
    suggestions: Mapping[str, Suggestion | None],
    fallen: Descent | None,
    edge: Literal["low", "high"] | None,
    *,
    of_body: bool,
) -> Recommendation | None:
    if not any(suggestions.values()):
        return None
    voters = [suggestion.lr for rule in CONSENSUS if (suggestion := suggestions[rule])]
    answer = recommend_for_body if of_body else recommend
    return answer(voters, fallen, at_edge=edge is not None)


def _at_edge(curve: _Curve, fallen: Descent | None, steps: range) -> Literal["low", "high"] | None:
    """Which end of the swept range the lowest loss stands at, when nothing bounds it there."""
    if fallen is None or fallen.is_flat:
        return None
    if fallen.lowest == 0:
        return "low"
    still_falling = fallen.lowest >= len(steps) - 1 and len(curve.lrs) >= curve.num_steps
    return "high" if still_falling else None


def _curve_warnings(
    fallen: Descent | None, edge: Literal["low", "high"] | None
) -> tuple[CurveWarning, ...]:
    if fallen is not None and fallen.is_flat:
        return (CurveWarning("flat", "the loss never falls below its start"),)
    if edge is not None:
        detail = f"the lowest loss is at the {edge} end of the swept rates; sweep further"
        return (CurveWarning("at_edge_of_range", detail),)
    return ()


_BECAUSE = {
    "no_finite_loss": "no loss among the usable points is finite",
    "diverged_at_once": "the loss diverged before enough points were recorded; start lower",
}


def _unavailable(rule: str, reason: str, no_answer: NoAnswerError) -> CurveWarning:
    detail = _BECAUSE.get(reason, str(no_answer))
    return CurveWarning(f"{rule}_unavailable", detail, rule=rule, reason=reason)
