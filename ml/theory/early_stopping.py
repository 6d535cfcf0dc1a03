"""Which epoch of a training was the best, and when further ones are no longer worth their time."""

from collections.abc import Sequence
from math import inf
from typing import Literal

Metric = Literal["valid_loss", "accuracy"]


def best_place(values: Sequence[float], metric: Metric) -> int | None:
    """The place of the best value, the first of equals; None where no value is a number.

    The lowest ``valid_loss`` is best, the highest ``accuracy``.
    """
    best, place = inf, None
    for at, cost in enumerate(_costs(values, metric)):
        if cost < best:
            best, place = cost, at
    return place


def has_stalled(
    values: Sequence[float], metric: Metric, *, patience: int, min_delta: float = 0.0
) -> bool:
    """Whether the last ``patience`` values brought nothing better by more than ``min_delta``.

    A value that is not a number is no better; the first one is better than none.
    """
    best, waited = inf, 0
    for cost in _costs(values, metric):
        if cost < best - min_delta:
            best, waited = cost, 0
        else:
            waited += 1
    return waited >= patience


def _costs(values: Sequence[float], metric: Metric) -> list[float]:
    return list(values) if metric == "valid_loss" else [-value for value in values]
