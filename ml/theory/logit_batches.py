"""Checked batches of logits with their targets, weights and smoothing.

Shapes: N = samples, C = classes.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ml.theory.errors import InvalidInputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def check_batch(
    logits_NC: npt.ArrayLike, targets_N: npt.ArrayLike, *, ignore_index: int
) -> tuple[Floats, Ints]:
    """The batch as arrays of agreeing shape whose targets are classes or ``ignore_index``.

    Raises:
        InvalidInputError: the activations are no table, or a target is not a class.
    """
    x_NC = _table(logits_NC)
    t_N = np.asarray(targets_N, dtype=np.int64).reshape(-1)
    samples, classes = x_NC.shape
    if len(t_N) != samples:
        raise InvalidInputError("targets", f"{samples} rows of activations, {len(t_N)} targets")
    wrong = np.flatnonzero(((t_N < 0) | (t_N >= classes)) & (t_N != ignore_index))
    if len(wrong):
        raise InvalidInputError(
            "targets",
            f"target {t_N[wrong[0]]} of row {wrong[0]} is not a class: use 0 to {classes - 1}",
        )
    return x_NC, t_N


def check_weights(class_weights: Sequence[float] | None, classes: int) -> Floats:
    """One weight for each class; all ones when none are given.

    Raises:
        InvalidInputError: there are too few or too many, or one is negative or not finite.
    """
    if class_weights is None:
        return np.ones(classes)
    weights_C = np.asarray(class_weights, dtype=np.float64)
    if weights_C.shape != (classes,):
        raise InvalidInputError(
            "class_weights", f"{len(class_weights)} weights for {classes} classes"
        )
    if not np.all(np.isfinite(weights_C) & (weights_C >= 0)):
        raise InvalidInputError("class_weights", "every weight must be finite and at least 0")
    return weights_C


def check_smoothing(label_smoothing: float) -> float:
    """The share of smoothing as it was given, when it lies in [0, 1].

    Raises:
        InvalidInputError: it does not.
    """
    if not 0 <= label_smoothing <= 1:
        raise InvalidInputError(
            "label_smoothing", f"label_smoothing is {label_smoothing}; use 0 to 1"
        )
    return label_smoothing


def _table(logits_NC: npt.ArrayLike) -> Floats:
    try:
        x_NC = np.asarray(logits_NC, dtype=np.float64)
    except ValueError as error:
        raise InvalidInputError("activations", "rows of activations differ in length") from error
    if x_NC.ndim != 2 or x_NC.shape[1] == 0:
        raise InvalidInputError(
            "activations", f"activations have shape {x_NC.shape}; use one row of classes a sample"
        )
    return x_NC
