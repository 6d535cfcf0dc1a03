"""Which labels are probably wrong, by confident learning on a model's probabilities.

Northcutt et al. 2021, arXiv:1911.00068, as cleanlab has it. It holds for photos that the model has
not learned from: of those it has, it believes the labels. Shapes: N = photos, C = classes.
"""

from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray

from ml.theory import cross_entropy

_FEWEST_LABELS = 2
"""Of a single label nothing can be said: there is none to take it for."""


@dataclass(frozen=True, slots=True)
class LabelIssues:
    """How suspicious each label is."""

    scores: NDArray[np.float64]
    """(N,), in [0, 1]; near 1 where the model gives the label next to nothing."""
    suspects: NDArray[np.bool_]
    """(N,): the highest scores, as many as labels are estimated to be wrong."""


def label_issues(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> LabelIssues | None:
    """The issues of at least two different labels; None of fewer, or where a logit is not finite.

    The score is one less the label's probability, cleanlab's self-confidence: by docs/results.md
    it finds more wrong labels than the margin to the largest other class.
    """
    if len(np.unique(labels)) < _FEWEST_LABELS or not np.isfinite(logits).all():
        return None
    probabilities = cross_entropy.softmax(logits)
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    # one process: a trainer must not fork while a tensor library's threads are there
    suspects = find_label_issues(labels, probabilities, filter_by="low_self_confidence", n_jobs=1)
    return LabelIssues(1 - np.asarray(quality), np.asarray(suspects))
