"""Which rate to recommend from what the rules say, and how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from math import exp, inf, log, log10
from statistics import median
from typing import Literal

from ml.theory.zero_lag import Descent

LOWEST = 3e-4
HIGHEST = 1e-2
DEFAULT = 2e-3
WITHIN_DECADES = 1.0
CLEAR_FALL_OVER_NOISE = 3.0
DOUBTS = ("rules_disagree", "few_rules", "clipped", "at_edge_of_range", "fall_within_noise")
"""The reasons that speak against a rate that the rules agreed upon."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A rate for fine-tuning, half to double of it, and coded reasons.

    ``rule`` is ``consensus`` or ``default``. ``confidence`` is a word, never a probability.
    ``reasons``: ``rules_agree``, ``rules_disagree`` (more than a decade apart), ``few_rules``,
    ``clipped``, ``at_edge_of_range``, ``fall_within_noise`` (under three times the noise),
    ``flat``, ``too_few_points``, ``default``; of several sweeps also those of
    `ml.theory.lr_sweeps.combine`.
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
    silent = _silence(voters, fallen)
    if fallen is None or silent is not None:
        return _default(silent or "too_few_points")
    return _consensus(voters, fallen, at_edge=at_edge, bounds=(LOWEST, HIGHEST))


def recommend_for_body(
    voters: Sequence[float], fallen: Descent | None, *, at_edge: bool
) -> Recommendation | None:
    """As `recommend`, for a layer group of the body that was swept alone.

    What is known of good rates is known of the head's, so that nothing is clipped, and where the
    curve says nothing there is no default.
    """
    if fallen is None or _silence(voters, fallen) is not None:
        return None
    return _consensus(voters, fallen, at_edge=at_edge, bounds=(0.0, inf))


def _silence(voters: Sequence[float], fallen: Descent | None) -> str | None:
    """The code of why the curve says nothing; None when it does."""
    if fallen is None:
        return "too_few_points"
    if fallen.is_flat:
        return "flat"
    return "fall_within_noise" if fallen.fall <= fallen.noise or not voters else None


def _consensus(
    voters: Sequence[float], fallen: Descent, *, at_edge: bool, bounds: tuple[float, float]
) -> Recommendation:
    middle = exp(median(log(rate) for rate in voters))
    lr = min(max(middle, bounds[0]), bounds[1])
    agree = log10(max(voters) / min(voters)) <= WITHIN_DECADES
    within_noise = fallen.fall < CLEAR_FALL_OVER_NOISE * fallen.noise
    holds = (not agree, len(voters) < 3, lr != middle, at_edge, within_noise)
    raised = tuple(compress(DOUBTS, holds))
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
