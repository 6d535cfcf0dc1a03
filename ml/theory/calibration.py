"""Whether a network is as often right as it is sure, and the temperature that would mend it.

Guo et al. 2017, arXiv:1706.04599. Shapes: N = samples, C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np
import numpy.typing as npt

from ml.theory import cross_entropy
from ml.theory.logit_batches import Floats, check_batch

BINS = 15
"""As in the paper."""

_COLDEST, _HOTTEST = 1e-2, 1e2
_HALVINGS = 60
_IGNORED = 0
"""A class, so that every label has to be one."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The samples whose largest probability is above ``lower`` and at most ``upper``."""

    lower: float
    upper: float
    count: int
    confidence: float | None
    """Mean of their largest probabilities; None without samples."""
    accuracy: float | None
    """Share of them that is right; None without samples."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How sure and how right a network is, and what its temperature would be."""

    bins: tuple[Bin, ...]
    expected_error: float
    temperature: float | None
    """None where none lowers the loss most: see `best_temperature`."""
    loss: float
    loss_with_temperature: float | None
    expected_error_with_temperature: float | None


def calibration(logits_NC: npt.ArrayLike, labels_N: npt.ArrayLike) -> Calibration | None:
    """The calibration of at least one sample; None where a logit is not finite.

    The temperature is fitted on the same samples, so its figures flatter it.

    Raises:
        InvalidInputError: shapes disagree, or a label is no class.
    """
    logits, labels = check_batch(logits_NC, labels_N, ignore_index=_IGNORED)
    if not np.isfinite(logits).all():
        return None
    temperature = best_temperature(logits, labels)
    scaled = None if temperature is None else logits / temperature
    bins = _bins_of(logits, labels)
    return Calibration(
        bins=bins,
        expected_error=expected_error(bins),
        temperature=temperature,
        loss=cross_entropy.mean(logits, labels),
        loss_with_temperature=None if scaled is None else cross_entropy.mean(scaled, labels),
        expected_error_with_temperature=None
        if scaled is None
        else expected_error(_bins_of(scaled, labels)),
    )


def reliability(confidences_N: npt.ArrayLike, correct_N: npt.ArrayLike) -> tuple[Bin, ...]:
    """The samples in `BINS` bins of equal width, by the largest probability of each."""
    confidences = np.asarray(confidences_N, dtype=np.float64)
    correct = np.asarray(correct_N, dtype=bool)
    edges = np.arange(BINS + 1) / BINS
    # a bin holds its upper edge; rounding may leave a probability a little above 1
    place = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, BINS - 1)
    return tuple(
        _bin(lower, upper, confidences[place == number], correct[place == number])
        for number, (lower, upper) in enumerate(pairwise(edges.tolist()))
    )


def expected_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error, Guo et al. eq. 3; NaN without samples.

    It is the mean distance of accuracy and confidence over the bins, weighted by their counts.
    """
    total = sum(each.count for each in bins)
    gaps = [
        each.count * abs(each.accuracy - each.confidence)
        for each in bins
        if each.accuracy is not None and each.confidence is not None
    ]
    return sum(gaps) / total if total else float("nan")


def best_temperature(logits_NC: npt.ArrayLike, labels_N: npt.ArrayLike) -> float | None:
    """The T in [0.01, 100] for which the mean loss of ``logits / T`` is smallest, Guo et al. 4.2.

    None where the loss falls on to an end of this range: of a network that is right everywhere
    (the smaller T the better), or of one no better than chance.
    """
    logits, labels = check_batch(logits_NC, labels_N, ignore_index=_IGNORED)
    low, high = 1 / _HOTTEST, 1 / _COLDEST
    # the loss is convex in 1/T, so its slope has one zero
    if _slope(logits, labels, low) >= 0 or _slope(logits, labels, high) <= 0:
        return None
    for _ in range(_HALVINGS):
        middle = sqrt(low * high)
        if _slope(logits, labels, middle) < 0:
            low = middle
        else:
            high = middle
    return 1 / sqrt(low * high)


def _slope(logits: Floats, labels: npt.NDArray[np.int64], inverse: float) -> float:
    """Derivative of the mean loss by 1/T: the mean logit under the softmax less the label's."""
    expected = (cross_entropy.softmax(logits * inverse) * logits).sum(axis=1)
    return float((expected - logits[np.arange(len(labels)), labels]).mean())


def _bins_of(logits: Floats, labels: npt.NDArray[np.int64]) -> tuple[Bin, ...]:
    confidences = cross_entropy.softmax(logits).max(axis=1)
    return reliability(confidences, logits.argmax(axis=1) == labels)


def _bin(lower: float, upper: float, confidences: Floats, correct: npt.NDArray[np.bool_]) -> Bin:
    if not len(correct):
        return Bin(lower, upper, 0, None, None)
    return Bin(lower, upper, len(correct), float(confidences.mean()), float(correct.mean()))
