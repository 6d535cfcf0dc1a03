"""Cross-entropy from logits: per sample, averaged, its gradient, and an explanation with numbers.

Shapes: N = samples, C = classes. Everything is float64 and computed with the row's largest logit
subtracted, so logits of +-1e4 give exact losses. Definitions as in torch.nn.CrossEntropyLoss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log

import numpy as np
import numpy.typing as npt

from ml.theory.cross_entropy_words import Worked, derivation
from ml.theory.errors import InvalidInputError
from ml.theory.logit_batches import Floats, Ints, check_batch, check_smoothing, check_weights

IGNORE_INDEX = -100


@dataclass(frozen=True, slots=True)
class SampleExplanation:
    """Every number on the way from one row of activations to its loss; None where not finite.

    ``cross_entropy`` carries label smoothing and class weights, ``plain_cross_entropy`` is
    -ln p_target without them. ``sigmoid_of_difference`` is sigmoid(a0 - a1), for two classes only.
    ``gradient`` is the derivative of ``cross_entropy`` by the activations. ``note`` says why a
    number is missing: ``ignored``, ``infinite_loss`` or ``not_a_number``.
    """

    index: int
    target: int
    target_name: str | None
    activations: tuple[float | None, ...]
    softmax: tuple[float | None, ...]
    sigmoid_of_difference: float | None
    p_target: float | None
    nll_of_softmax: float | None
    cross_entropy: float | None
    plain_cross_entropy: float | None
    weight: float
    gradient: tuple[float | None, ...]
    predicted: int
    predicted_name: str | None
    correct: bool
    note: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A batch explained: ``chance_level`` is ln C, the loss of equal probabilities."""

    samples: tuple[SampleExplanation, ...]
    mean: float | None
    chance_level: float
    derivation: tuple[str, ...]


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


def explain(
    activations: npt.ArrayLike,
    targets: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    class_weights: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
) -> Explanation:
    """The losses of a batch with every intermediate number and the reasoning in plain words.

    Arguments as in `per_sample`; ``ignore_index`` of None ignores `IGNORE_INDEX`.

    Raises:
        InvalidInputError: an argument does not fit the others.
    """
    ignored = IGNORE_INDEX if ignore_index is None else ignore_index
    x_NC, t_N = check_batch(activations, targets, ignore_index=ignored)
    _check_names(class_names, x_NC.shape[1])
    table = _Table(
        logits=x_NC,
        targets=t_N,
        names=class_names,
        weights=check_weights(class_weights, x_NC.shape[1]),
        smoothing=check_smoothing(label_smoothing),
        ignored=ignored,
    )
    samples = table.samples()
    return Explanation(
        samples=samples,
        mean=_finite(table.mean()),
        chance_level=log(x_NC.shape[1]),
        derivation=derivation(
            [_worked(sample) for sample in samples if sample.note is None],
            mean=_finite(table.mean()),
            smoothing=label_smoothing,
            weighted=class_weights is not None,
        ),
    )


def _check_names(class_names: Sequence[str] | None, classes: int) -> None:
    if class_names is not None and len(class_names) != classes:
        raise InvalidInputError("class_names", f"{len(class_names)} names for {classes} classes")


@dataclass(frozen=True, slots=True)
class _Table:
    """A checked batch with what shapes its loss."""

    logits: Floats
    targets: Ints
    names: Sequence[str] | None
    weights: Floats
    smoothing: float
    ignored: int

    def mean(self) -> float:
        return mean(
            self.logits,
            self.targets,
            class_weights=self.weights.tolist(),
            label_smoothing=self.smoothing,
            ignore_index=self.ignored,
        )

    def samples(self) -> tuple[SampleExplanation, ...]:
        losses_N = self._losses(self.weights.tolist(), self.smoothing)
        plain_N = self._losses(None, 0.0)
        gradients_NC = gradient(
            self.logits,
            self.targets,
            class_weights=self.weights.tolist(),
            label_smoothing=self.smoothing,
            ignore_index=self.ignored,
        )
        probabilities_NC = softmax(self.logits)
        return tuple(
            self._sample(row, probabilities_NC[row], losses_N[row], plain_N[row], gradients_NC[row])
            for row in range(len(self.targets))
        )

    def _losses(self, class_weights: Sequence[float] | None, label_smoothing: float) -> Floats:
        return per_sample(
            self.logits,
            self.targets,
            class_weights=class_weights,
            label_smoothing=label_smoothing,
            ignore_index=self.ignored,
        )

    def _sample(
        self, row: int, p_C: Floats, loss: float, plain: float, gradient_C: Floats
    ) -> SampleExplanation:
        target = int(self.targets[row])
        kept = target != self.ignored
        p_target = _finite(p_C[target]) if kept else None
        predicted = int(np.argmax(self.logits[row]))
        return SampleExplanation(
            index=row,
            target=target,
            target_name=self.names[target] if self.names and kept else None,
            activations=_finite_all(self.logits[row]),
            softmax=_finite_all(p_C),
            sigmoid_of_difference=_sigmoid_of_difference(self.logits[row]),
            p_target=p_target,
            nll_of_softmax=None if p_target is None else -p_target,
            cross_entropy=_finite(loss),
            plain_cross_entropy=_finite(plain),
            weight=float(self.weights[target]) if kept else 0.0,
            gradient=_finite_all(gradient_C),
            predicted=predicted,
            predicted_name=self.names[predicted] if self.names else None,
            correct=predicted == target,
            note=_note(kept, loss),
        )


def _note(kept: bool, loss: float) -> str | None:
    if not kept:
        return "ignored"
    if isfinite(loss):
        return None
    return "not_a_number" if np.isnan(loss) else "infinite_loss"


def _sigmoid_of_difference(logits_C: Floats) -> float | None:
    if len(logits_C) != 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        difference = logits_C[0] - logits_C[1]
        return _finite(float(1 / (1 + np.exp(-difference))))


def _worked(sample: SampleExplanation) -> Worked:
    return Worked(
        index=sample.index,
        target=sample.target,
        name=sample.target_name or f"class {sample.target}",
        activations=tuple(value if value is not None else -np.inf for value in sample.activations),
        probabilities=tuple(value or 0.0 for value in sample.softmax),
        loss=sample.cross_entropy or 0.0,
        plain_loss=sample.plain_cross_entropy or 0.0,
    )


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _finite_all(values: Floats) -> tuple[float | None, ...]:
    return tuple(_finite(value) for value in values)
