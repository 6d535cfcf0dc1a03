"""The sweeps that a learning-rate find consists of, and the one rate that they say together.

A sweep is noisy between seeds. Several, each with the next seed, are combined by the median of
their recommendations, and how far these lie apart tells how far to trust it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from statistics import median
from typing import Literal

from ml.theory.errors import InvalidInputError
from ml.theory.lr_recommendation import DOUBTS, Recommendation

Moving = Literal["frozen_body", "all", "each"]


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """One sweep of a find."""

    number: int
    """From 0 within the find."""
    seed: int
    group: int | None
    """The only layer group that moves, from 0; None when `Moving` says which layers do."""

    def rates(self, lr: float, layer_groups: int) -> tuple[float, ...]:
        """The rate of each layer group at a step of this rate: 0 for those that stand still."""
        moves = (self.group is None or group == self.group for group in range(layer_groups))
        return tuple(lr if moving else 0.0 for moving in moves)


def planned_sweeps(
    moving: Moving, *, seed: int, repeats: int, layer_groups: int
) -> tuple[PlannedSweep, ...]:
    """The sweeps in the order in which they run; each repeat has the next seed.

    With ``each`` a repeat is one sweep for each layer group, from the head down to the first
    layers, so that a find that is stopped early knows the head's rate.

    Raises:
        InvalidInputError: there are no repeats, or no layer groups.
    """
    if repeats < 1:
        raise InvalidInputError("repeats", f"repeats is {repeats}; use at least 1")
    if layer_groups < 1:
        raise InvalidInputError("layer_groups", f"there are {layer_groups} layer groups")
    from_head = tuple(reversed(range(layer_groups)))
    groups: tuple[int | None, ...] = from_head if moving == "each" else (None,)
    turns = [(seed + repeat, group) for repeat in range(repeats) for group in groups]
    return tuple(PlannedSweep(number, *turn) for number, turn in enumerate(turns))


@dataclass(frozen=True, slots=True)
class Combined:
    """What several sweeps recommend together."""

    recommended: Recommendation | None
    spread: float | None
    """Highest over lowest of their rates, 1 or more; None when no sweep has measured one."""


def combine(found: Sequence[Recommendation | None]) -> Combined:
    """The median in log rate of the sweeps whose rules have an answer, rule ``consensus``.

    The range is half to double of it, widened until every sweep's rate is inside. A doubt that at
    least half of them have is kept. Added are ``few_repeats``, when a sweep has no answer, and
    ``repeats_disagree``, when the range was widened, or else ``repeats_agree``. One sweep alone
    is taken as it is; where none has an answer, the first default is.
    """
    measured = [one for one in found if one is not None and one.rule == "consensus"]
    if not measured:
        return Combined(next((one for one in found if one is not None), None), None)
    rates = [one.lr for one in measured]
    if len(found) == 1:
        return Combined(measured[0], 1.0)
    lr = exp(median(log(rate) for rate in rates))
    lr = min(max(lr, min(rates)), max(rates))
    whole = (min(lr / 2, *rates), max(lr * 2, *rates))
    agreed, doubts = _reasons(measured, few=len(rates) < len(found), wide=whole != (lr / 2, lr * 2))
    recommended = replace(
        measured[0],
        lr=lr,
        range=whole,
        confidence="low" if doubts else "medium",
        reasons=(*agreed, *doubts),
    )
    return Combined(recommended, max(rates) / min(rates))


def _reasons(
    measured: Sequence[Recommendation], *, few: bool, wide: bool
) -> tuple[list[str], list[str]]:
    """The codes of what speaks for the combined rate, and of what speaks against it."""
    shared = [
        code for code in DOUBTS if 2 * sum(code in one.reasons for one in measured) >= len(measured)
    ]
    of_repeats = {"few_repeats": few, "repeats_disagree": wide}
    agrees = {
        "rules_agree": "rules_disagree" not in shared,
        "repeats_agree": len(measured) > 1 and not wide,
    }
    doubts = [*shared, *(code for code, holds in of_repeats.items() if holds)]
    return [code for code, holds in agrees.items() if holds], doubts
