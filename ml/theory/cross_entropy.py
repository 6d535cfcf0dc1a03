"""Cross-entropy from logits: per sample, averaged, and its gradient.

Shapes: N = samples, C = classes. Everything is float64 and computed with the row's largest logit
subtracted, so logits of +-1e4 give exact losses. Definitions as in torch.nn.CrossEntropyLoss.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml.theory.logit_batches import Floats, check_batch, check_smoothing, check_weights

IGNORE_INDEX = -100


def log_softmax(logits_NC: npt.ArrayLike) -> Floats:
    """Natural logarithms of the softmax probabilities, row by row.

    A row with a NaN is NaN throughout; a logit of -inf has log-probability -inf.
    """
    x_NC = np.asarray(logits_NC, dtype=np.float64)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        shifted_NC = x_NC - x_NC.max(axis=-1, keepdims=True)
        logs: Floats = shifted_NC - np.log(np.exp(shifted_NC).sum(axis=-1, keepdims=True))
    return logs


def softmax(logits_NC: npt.ArrayLike) -> Floats:
    """Probabilities in [0, 1] that sum to one in each row."""
    probabilities_NC: Floats = np.exp(log_softmax(logits_NC))
    return probabilities_NC


def per_sample(
    logits_NC: npt.ArrayLike,
    targets_N: npt.ArrayLike,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Floats:
    """The loss of every sample, unreduced; an ignored sample has loss 0.

    Without weights and smoothing it is ``logsumexp(row) - row[target]``, at least 0.

    Args:
        logits_NC: raw activations, not probabilities.
        targets_N: class indices, or ``ignore_index``.
        class_weights: one factor for each class, for the loss of samples of that class.
        label_smoothing: share in [0, 1] of the target spread evenly over all C classes.
        ignore_index: target value of the samples to leave out.

    Raises:
        InvalidInputError: shapes disagree, or a target is not a class.
    """
    x_NC, t_N = check_batch(logits_NC, targets_N, ignore_index=ignore_index)
    weights_C = check_weights(class_weights, x_NC.shape[1])
    smoothing = check_smoothing(label_smoothing)
    kept_N = t_N != ignore_index
    safe_N = np.where(kept_N, t_N, 0)
    minus_log_p_NC = -log_softmax(x_NC)
    with np.errstate(invalid="ignore"):  # a weight of 0 times an infinite loss is NaN, as in torch
        losses_N = weights_C[safe_N] * minus_log_p_NC[np.arange(len(t_N)), safe_N]
        if smoothing > 0:
            even_N = (minus_log_p_NC * weights_C).sum(axis=1) / x_NC.shape[1]
            losses_N = (1 - smoothing) * losses_N + smoothing * even_N
    return np.where(kept_N, losses_N, 0.0)


def mean(
    logits_NC: npt.ArrayLike,
    targets_N: npt.ArrayLike,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> float:
    """The mean loss: the sum over samples divided by the sum of their targets' weights.

    Ignored samples leave both sums; NaN when nothing is left. Arguments as in `per_sample`.
    """
    x_NC, t_N = check_batch(logits_NC, targets_N, ignore_index=ignore_index)
    losses_N = per_sample(
        x_NC,
        t_N,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
    )
    kept_N = t_N != ignore_index
    total_weight = check_weights(class_weights, x_NC.shape[1])[t_N[kept_N]].sum()
    return float(losses_N[kept_N].sum() / total_weight) if total_weight > 0 else float("nan")


def gradient(
    logits_NC: npt.ArrayLike,
    targets_N: npt.ArrayLike,
    *,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = IGNORE_INDEX,
) -> Floats:
    """Derivative of each sample's own loss by its logits, shape (N, C).

    Without weights and smoothing it is softmax minus one-hot; zero for an ignored sample.
    Arguments as in `per_sample`.
    """
    x_NC, t_N = check_batch(logits_NC, targets_N, ignore_index=ignore_index)
    weights_C = check_weights(class_weights, x_NC.shape[1])
    smoothing = check_smoothing(label_smoothing)
    kept_N = t_N != ignore_index
    safe_N = np.where(kept_N, t_N, 0)
    one_hot_NC = np.eye(x_NC.shape[1])[safe_N]
    soft_NC = (1 - smoothing) * one_hot_NC * weights_C + smoothing * weights_C / x_NC.shape[1]
    p_NC = softmax(x_NC)
    slopes_NC = p_NC * soft_NC.sum(axis=1, keepdims=True) - soft_NC
    return np.where(kept_N[:, None], slopes_NC, 0.0)
