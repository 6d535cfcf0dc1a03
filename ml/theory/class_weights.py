"""Weights of classes in a loss: where balanced ones come from, and what they do to each sample.

Shapes: N = samples, C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.theory import cross_entropy
from ml.theory.logit_batches import Floats


def balanced(counts: Sequence[int]) -> tuple[float, ...]:
    """The weight with which each class counts as much as any other: N / (C * its count).

    King & Zeng 2001, "Logistic Regression in Rare Events Data", as scikit-learn computes it. C
    counts the classes that have samples; a class without any weighs 1.
    """
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 1.0 for count in counts)


@dataclass(frozen=True, slots=True)
class WeightedLosses:
    """Losses of single samples and what they weigh."""

    losses: Floats
    """(N,), in nats."""
    weights: Floats
    """(N,), above 0."""

    @property
    def mean(self) -> float:
        """``sum(weight * loss) / sum(weight)``, as in torch.nn.CrossEntropyLoss."""
        return float((self.weights * self.losses).sum() / self.weights.sum())


def weighted_losses(
    logits_NC: npt.ArrayLike,
    labels_N: npt.NDArray[np.int64],
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
) -> WeightedLosses:
    """The loss of each sample before it is weighted; without class weights each weighs 1.

    With label smoothing a loss holds the weights of the other classes, too, over its own.

    Raises:
        InvalidInputError: shapes disagree, or a label is no class.
    """
    losses_N = cross_entropy.per_sample(
        logits_NC, labels_N, class_weights=class_weights, label_smoothing=label_smoothing
    )
    if class_weights is None:
        return WeightedLosses(losses_N, np.ones(len(losses_N)))
    weights_N = np.asarray(class_weights, np.float64)[labels_N]
    return WeightedLosses(losses_N / weights_N, weights_N)
