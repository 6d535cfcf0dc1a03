"""fastai's four rules for reading a rate from a range test, to the number.

All work on the points that `usable` leaves and in float32, as fastai does, because ties and
falls are decided there. A rule answers with an index into those points or raises `NoAnswerError`.
n = points; rates ascend by equal ratios, so an index is a place in log rate.
"""

from bisect import bisect_left
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

Trim = Literal["fastai", "none"]

DROPPED_AT_END = 5
SLIDE_WIDTH = 15
SLIDE_THRESHOLD = 0.005


class NoAnswerError(ValueError):
    """A rule needs more points than there are; ``reason`` is the code of why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def usable(
    losses: npt.ArrayLike,
    *,
    num_steps: int,
    trim: Trim,
    dropped_at_end: int = DROPPED_AT_END,
) -> range:
    """The recorded steps that a rule may read; an empty range when none is left.

    Trimmed as in fastai: without the first ``num_steps // 10`` and the last 5 recorded points;
    ``none`` keeps them. What follows the first NaN is never read.
    """
    y = np.asarray(losses, dtype=np.float64)
    first, past = (num_steps // 10, len(y) - dropped_at_end) if trim == "fastai" else (0, len(y))
    not_a_number = np.flatnonzero(np.isnan(y[first : max(past, 0)]))
    if len(not_a_number):
        past = first + int(not_a_number[0])
    return range(first, max(first, past))


def minimum(losses: npt.ArrayLike) -> int:
    """Index of the lowest loss, the first on ties; the rule's rate is a tenth of the one there.

    Raises:
        NoAnswerError: there is no point.
    """
    y = _at_least(losses, 1)
    return int(np.argmin(y))


def steepest(lrs: npt.ArrayLike, losses: npt.ArrayLike) -> int:
    """Index where the steepest fall by log rate begins; the least rise when nothing falls.

    Raises:
        NoAnswerError: there are fewer than 2 points.
    """
    y = _at_least(losses, 2)
    log_lrs = np.log(np.asarray(lrs, dtype=np.float32))
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        slopes = (y[1:] - y[:-1]) / (log_lrs[1:] - log_lrs[:-1])
    return int(np.argmin(slopes))


def valley(losses: npt.ArrayLike) -> int:
    """Index about half way down the longest fall; depends on the order of the losses only.

    The fall is the longest strictly decreasing subsequence, whose start is estimated from its
    length, so the index may be -1: the last point.

    Raises:
        NoAnswerError: there is no point.
    """
    lengths = _falling_lengths(_at_least(losses, 1))
    end = int(np.argmax(lengths))
    if lengths[end] == 1:
        return 0
    start = end - int(lengths[end])
    third = (end - start) / 3
    return start + int(third) + int(third / 2)


def slide(losses: npt.ArrayLike) -> int:
    """Index where, coming from the right, the slope 15 steps apart no longer differs.

    Raises:
        NoAnswerError: there are fewer than 16 points.
    """
    y = _at_least(losses, SLIDE_WIDTH + 1)
    with np.errstate(invalid="ignore", over="ignore"):
        slopes = np.gradient(y)
        differs = np.abs(slopes[SLIDE_WIDTH:] - slopes[:-SLIDE_WIDTH]) > SLIDE_THRESHOLD
    settled = np.flatnonzero(~differs)
    left = int(settled[-1]) + 1 if len(settled) else 0
    return min(left, len(y) - SLIDE_WIDTH - 1)


def _at_least(losses: npt.ArrayLike, points: int) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        y = np.asarray(losses, dtype=np.float32)
    if len(y) < points:
        raise NoAnswerError("too_few_points", f"{len(y)} usable points, {points} needed")
    return y


def _falling_lengths(y: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Length of the longest strictly decreasing subsequence that ends at each point.

    Patience sorting: ``ends[k]`` is the smallest negated loss that ends a fall of k + 1 points.
    """
    ends: list[float] = []
    lengths = np.empty(len(y), dtype=np.int64)
    for index, loss in enumerate((-y).tolist()):
        place = bisect_left(ends, loss)
        ends[place : place + 1] = [loss]
        lengths[index] = place + 1
    return lengths
