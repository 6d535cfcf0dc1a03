"""Where a classifier goes wrong: confusion, scores per class, and the largest losses.

Shapes: N = samples, C = classes. In a confusion matrix rows are actual, columns predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.theory.errors import InvalidInputError

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ConfusedPair:
    """How often a class was taken for another; the two directions are separate pairs."""

    actual: str
    predicted: str
    count: int


@dataclass(frozen=True, slots=True)
class TopLoss:
    """A sample's loss and its index."""

    index: int
    loss: float


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Scores of one class in [0, 1]; 0 where undefined. ``support`` counts actual samples."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class ClassReport:
    """Scores of every class, their plain mean, and their mean weighted by support."""

    classes: tuple[ClassScore, ...]
    accuracy: float
    macro: ClassScore
    weighted: ClassScore


def confusion(targets_N: npt.ArrayLike, predicted_N: npt.ArrayLike, classes: int) -> Counts:
    """Counts by actual (row) and predicted (column) class, shape (C, C).

    Raises:
        InvalidInputError: lengths differ, or an index is not a class.
    """
    actual = np.asarray(targets_N, dtype=np.int64)
    predicted = np.asarray(predicted_N, dtype=np.int64)
    if actual.shape != predicted.shape:
        raise InvalidInputError("predicted", f"{len(actual)} targets, {len(predicted)} predictions")
    both = np.concatenate([actual, predicted])
    if len(both) and not 0 <= both.min() <= both.max() < classes:
        raise InvalidInputError("targets", f"class indices must be 0 to {classes - 1}")
    counts: Counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (actual, predicted), 1)
    return counts


def most_confused(
    counts_CC: npt.ArrayLike, vocab: Sequence[str], min_count: int = 1
) -> tuple[ConfusedPair, ...]:
    """Pairs of different classes confused at least ``min_count`` times (1 or more), most first.

    Ties keep the order of the vocabulary, actual class first.
    """
    counts = np.asarray(counts_CC, dtype=np.int64)
    pairs = [
        ConfusedPair(vocab[row], vocab[column], int(counts[row, column]))
        for row, column in np.argwhere(counts >= max(min_count, 1)).tolist()
        if row != column
    ]
    return tuple(sorted(pairs, key=lambda pair: -pair.count))


def top_losses(
    losses_N: npt.ArrayLike, k: int | None = None, *, largest: bool = True
) -> tuple[TopLoss, ...]:
    """The ``k`` largest losses, largest first; or the smallest. All of them when k is None.

    Ties keep the samples' order; NaN counts as the largest. A large loss is not always an error.

    Raises:
        InvalidInputError: there are fewer than ``k`` samples.
    """
    losses = np.asarray(losses_N, dtype=np.float64)
    wanted = len(losses) if k is None else k
    if not 0 <= wanted <= len(losses):
        raise InvalidInputError("k", f"k is {wanted}; there are {len(losses)} losses")
    keys = np.where(np.isnan(losses), np.inf, losses)
    nan_first = ~np.isnan(losses) if largest else np.isnan(losses)
    order = np.lexsort((nan_first, -keys if largest else keys))
    return tuple(TopLoss(int(index), float(losses[index])) for index in order[:wanted])


def accuracy(counts_CC: npt.ArrayLike) -> float:
    """The share of samples on the diagonal; NaN without samples. The error rate is 1 less this."""
    counts = np.asarray(counts_CC, dtype=np.int64)
    total = int(counts.sum())
    return float(np.trace(counts)) / total if total else float("nan")


def class_report(counts_CC: npt.ArrayLike, vocab: Sequence[str]) -> ClassReport:
    """Precision, recall, F1 and support of every class, from a confusion matrix.

    A class that never occurs has recall 0, one that is never predicted has precision 0.
    """
    counts = np.asarray(counts_CC, dtype=np.float64)
    right = np.diag(counts)
    support = counts.sum(axis=1)
    precision = _share(right, counts.sum(axis=0))
    recall = _share(right, support)
    f1 = _share(2 * precision * recall, precision + recall)
    scores = np.stack([precision, recall, f1], axis=1)
    return ClassReport(
        classes=tuple(_score(label, scores[row], support[row]) for row, label in enumerate(vocab)),
        accuracy=accuracy(counts),
        macro=_score("macro avg", scores.mean(axis=0), support.sum()),
        weighted=_score("weighted avg", _share(support @ scores, support.sum()), support.sum()),
    )


def _share(part: npt.ArrayLike, whole: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Part over whole, 0 where there is no whole."""
    below = np.asarray(whole, dtype=np.float64)
    return np.asarray(part, dtype=np.float64) * (below > 0) / np.where(below > 0, below, 1.0)


def _score(label: str, scores: npt.NDArray[np.float64], support: float) -> ClassScore:
    precision, recall, f1 = scores.tolist()
    return ClassScore(label, precision, recall, f1, int(support))
