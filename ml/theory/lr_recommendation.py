"""Which rate to recommend from what the rules say, and how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, log10
from statistics import median
from typing import Literal

from ml.theory.zero_lag import Descent

LOWEST = 3e-4
HIGHEST = 1e-2
DEFAULT = 2e-3
WITHIN_DECADES = 1.0
CLEAR_FALL_OVER_NOISE = 3.0


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A rate for fine-tuning, half to double of it, and coded reasons.

    ``rule`` is ``consensus`` or ``default``. ``confidence`` is a word, never a probability.
    ``reasons``: ``rules_agree``, ``rules_disagree`` (more than a decade apart), ``few_rules``,
    ``clipped``, ``at_edge_of_range``, ``fall_within_noise`` (under three times the noise),
    ``flat``, ``too_few_points``, ``default``.
    """

    lr: float
    rule: Literal["consensus", "default"]
    range: tuple[float, float]
    confidence: Literal["low", "medium"]
    reasons: tuple[str, ...]


def recommend(voters: Sequence[float], fallen: Descent | None, *, at_edge: bool) -> Recommendation:
    """The median of the voters' rates in log rate, kept within [3e-4, 1e-2].

    Without a fall, or with one smaller than the noise of a single loss, the voters mean nothing
    and the default 2e-3 stands in. Confidence is ``medium`` only when nothing speaks against it.
    """
    if fallen is None:
        return _default("too_few_points")
    if fallen.is_flat:
        return _default("flat")
    if fallen.fall <= fallen.noise or not voters:
        return _default("fall_within_noise")
    middle = exp(median(log(rate) for rate in voters))
    lr = min(max(middle, LOWEST), HIGHEST)
    agree = log10(max(voters) / min(voters)) <= WITHIN_DECADES
    doubts = {
        "rules_disagree": not agree,
        "few_rules": len(voters) < 3,
        "clipped": lr != middle,
        "at_edge_of_range": at_edge,
        "fall_within_noise": fallen.fall < CLEAR_FALL_OVER_NOISE * fallen.noise,
    }
    raised = tuple(code for code, holds in doubts.items() if holds)
    return Recommendation(
        lr=lr,
        rule="consensus",
        range=(lr / 2, lr * 2),
        confidence="low" if raised else "medium",
        reasons=("rules_agree", *raised) if agree else raised,
    )


def _default(reason: str) -> Recommendation:
    return Recommendation(
        DEFAULT, "default", (DEFAULT / 2, DEFAULT * 2), "low", ("default", reason)
    )
