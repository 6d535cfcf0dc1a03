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

from ml.theory import lr_rules
from ml.theory.lr_curve import Edge, Floats, RecordedCurve, fallen
from ml.theory.lr_recommendation import Recommendation, recommend, recommend_for_body
from ml.theory.lr_rules import NoAnswerError, Trim
from ml.theory.zero_lag import Descent, clear_descent_end

RULES = (
    "minimum_over_10",
    "minimum_over_10_zero_lag",
    "last_clear_descent",
    "steepest",
    "valley",
    "slide",
)
CONSENSUS = ("valley", "minimum_over_10_zero_lag", "last_clear_descent")
ON_ZERO_LAG = frozenset({"minimum_over_10_zero_lag", "last_clear_descent"})
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
        trim: ``fastai`` drops the first tenth of the planned steps for every rule, and the last
            five points, of which the rules on the zero-lag curve drop ``num_steps // 20`` instead.
        of_body: a layer group of the body moved alone, so that the recommendation is neither
            clipped nor replaced by a default.

    Raises:
        InvalidInputError: lengths differ, or the rates do not ascend.
    """
    averages = losses_raw if smoothed is None else smoothed
    curve = RecordedCurve.of(lrs, losses_raw, averages, num_steps=num_steps)
    fastais, ours = curve.for_fastais_rules(trim), curve.for_zero_lag_rules(trim)
    warnings: list[CurveWarning] = []
    suggestions: dict[str, Suggestion | None] = {}
    fall = fallen(curve, ours)
    for rule in RULES:
        steps = ours if rule in ON_ZERO_LAG else fastais
        try:
            suggestions[rule] = _FINDERS[rule](curve, steps)
        except NoAnswerError as no_answer:
            suggestions[rule] = None
            warnings.append(_unavailable(rule, curve.reason(no_answer.reason, steps), no_answer))
    edge = curve.edge(fall, ours)
    return LrAnalysis(
        suggestions=suggestions,
        recommended=_recommended(suggestions, fall, edge, of_body=of_body),
        warnings=(*warnings, *_curve_warnings(fall, edge)),
        zero_lag=tuple(loss if isfinite(loss) else None for loss in curve.zero_lag.tolist()),
    )


def _suggestion(curve: RecordedCurve, step: int, losses: Floats, divisor: float) -> Suggestion:
    lr, loss = float(curve.lrs[step]), float(losses[step])
    return Suggestion(lr / divisor, Marker(lr, loss if isfinite(loss) else None), step)


def _minimum_over_10(curve: RecordedCurve, steps: range) -> Suggestion:
    step = steps[lr_rules.minimum(curve.smoothed[steps.start : steps.stop])]
    return _suggestion(curve, step, curve.smoothed, 10.0)


def _steepest(curve: RecordedCurve, steps: range) -> Suggestion:
    inside = slice(steps.start, steps.stop)
    step = steps[lr_rules.steepest(curve.lrs[inside], curve.smoothed[inside])]
    return _suggestion(curve, step, curve.smoothed, 1.0)


def _valley(curve: RecordedCurve, steps: range) -> Suggestion:
    step = steps[lr_rules.valley(curve.smoothed[steps.start : steps.stop])]
    return _suggestion(curve, step, curve.smoothed, 1.0)


def _slide(curve: RecordedCurve, steps: range) -> Suggestion:
    step = steps[lr_rules.slide(curve.smoothed[steps.start : steps.stop])]
    return _suggestion(curve, step, curve.smoothed, 1.0)


def _minimum_over_10_zero_lag(curve: RecordedCurve, steps: range) -> Suggestion:
    fall = curve.descent(steps)
    if fall.is_flat:
        raise NoAnswerError("flat", "the loss never falls below its start")
    return _suggestion(curve, steps[fall.lowest], curve.zero_lag, 10.0)


def _last_clear_descent(curve: RecordedCurve, steps: range) -> Suggestion:
    fall = curve.descent(steps)
    step = steps[clear_descent_end(curve.zero_lag[steps.start : steps.stop], fall)]
    return _suggestion(curve, step, curve.zero_lag, CLEAR_DESCENT_DIVISOR)


_FINDERS: Mapping[str, Callable[[RecordedCurve, range], Suggestion]] = {
    "minimum_over_10": _minimum_over_10,
    "minimum_over_10_zero_lag": _minimum_over_10_zero_lag,
    "last_clear_descent": _last_clear_descent,
    "steepest": _steepest,
    "valley": _valley,
    "slide": _slide,
}


def _recommended(
    suggestions: Mapping[str, Suggestion | None],
    fall: Descent | None,
    edge: Edge | None,
    *,
    of_body: bool,
) -> Recommendation | None:
    if not any(suggestions.values()):
        return None
    voters = [suggestion.lr for rule in CONSENSUS if (suggestion := suggestions[rule])]
    answer = recommend_for_body if of_body else recommend
    return answer(voters, fall, at_edge=edge is not None)


_AT_EDGE: Mapping[Edge, str] = {
    "low": "the lowest loss is at the low end of the swept rates; sweep further",
    "high": "the lowest loss is at the high end of the swept rates; sweep further",
    "cut_short": "the loss was still falling when the sweep ended early; repeat it",
}


def _curve_warnings(fall: Descent | None, edge: Edge | None) -> tuple[CurveWarning, ...]:
    if fall is not None and fall.is_flat:
        return (CurveWarning("flat", "the loss never falls below its start"),)
    if edge is not None:
        return (CurveWarning("at_edge_of_range", _AT_EDGE[edge]),)
    return ()


_BECAUSE = {
    "no_finite_loss": "no loss among the usable points is finite",
    "diverged_at_once": "the loss diverged before enough points were recorded; start lower",
}


def _unavailable(rule: str, reason: str, no_answer: NoAnswerError) -> CurveWarning:
    detail = _BECAUSE.get(reason, str(no_answer))
    return CurveWarning(f"{rule}_unavailable", detail, rule=rule, reason=reason)
