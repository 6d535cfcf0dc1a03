"""Which labels are probably wrong, by confident learning on a model's probabilities.

Northcutt et al. 2021, "Confident Learning", arXiv:1911.00068: a photo is confidently of a class to
which the model gives at least the probability that it gives that class on average where it is the
label. The numbers are those of cleanlab 2.9's ``find_label_issues`` with ``low_self_confidence``,
which says the same of a photo beyond several averages as of one whose largest probability is
confident. It holds for photos that the model has not learned from: of those it has, it believes
the labels. Shapes: N = photos, C = classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ml.theory import cross_entropy

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

_FEWEST_LABELS = 2
"""Of a single label nothing can be said: there is none to take it for."""

_NEXT_TO_NOTHING = 1e-6
"""The difference up to which two probabilities are held to be the same."""


@dataclass(frozen=True, slots=True)
class LabelIssues:
    """How suspicious each label is."""

    scores: Floats
    """(N,), in [0, 1]; near 1 where the model gives the label next to nothing."""
    suspects: NDArray[np.bool_]
    """(N,): the highest scores, as many as labels are estimated to be wrong."""


def label_issues(logits_NC: Floats, labels_N: Labels) -> LabelIssues | None:
    """The issues of at least two different labels; None of fewer, or where a logit is not finite.

    The score is one less the label's probability, the self-confidence: by docs/results.md it finds
    more wrong labels than the margin to the largest other class. Of equal scores the first counts.
    """
    if len(np.unique(labels_N)) < _FEWEST_LABELS or not np.isfinite(logits_NC).all():
        return None
    p_NC = cross_entropy.softmax(logits_NC)
    scores = 1 - p_NC[np.arange(len(labels_N)), labels_N]
    suspects = np.zeros(len(labels_N), bool)
    suspects[np.argsort(-scores, kind="stable")[: _wrong_labels(p_NC, labels_N)]] = True
    return LabelIssues(scores, suspects)


def _wrong_labels(p_NC: Floats, labels_N: Labels) -> int:
    """How many photos are confidently of another class, and more likely so than of their label."""
    is_confident_NC = p_NC >= _mean_self_confidence(p_NC, labels_N) - _NEXT_TO_NOTHING
    classes_N = is_confident_NC.sum(axis=1)
    confident_class_N = np.where(classes_N > 1, p_NC.argmax(axis=1), is_confident_NC.argmax(axis=1))
    is_of_another = (classes_N > 0) & (confident_class_N != labels_N)
    return int((is_of_another & ~_is_believed(p_NC, labels_N)).sum())


def _mean_self_confidence(p_NC: Floats, labels_N: Labels) -> Floats:
    """(C,): each class's mean probability where it is the label; infinite where it never is."""
    classes = p_NC.shape[1]
    counts = np.bincount(labels_N, minlength=classes)
    sums = np.bincount(labels_N, p_NC[np.arange(len(labels_N)), labels_N], classes)
    means = np.full(classes, np.inf)
    np.divide(sums, counts, out=means, where=counts > 0)
    # nothing at all is no confidence
    return np.asarray(np.maximum(means, 2 * _NEXT_TO_NOTHING), np.float64)


def _is_believed(p_NC: Floats, labels_N: Labels) -> NDArray[np.bool_]:
    """Whether the label has the largest probability, or one that is held to be the same."""
    favoured_NC = p_NC.copy()
    favoured_NC[np.arange(len(labels_N)), labels_N] += _NEXT_TO_NOTHING
    return np.asarray(favoured_NC.argmax(axis=1) == labels_N)
