"""A batch's cross-entropy with every number on the way, and the reasoning in words.

Shapes: N = samples, C = classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log

import numpy as np
import numpy.typing as npt

from ml.theory.cross_entropy import IGNORE_INDEX, gradient, mean, per_sample, softmax
from ml.theory.cross_entropy_words import Worked, derivation
from ml.theory.errors import InvalidInputError
from ml.theory.logit_batches import Floats, Ints, check_batch, check_smoothing, check_weights


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
    samples, mean_loss = table.samples(), _finite(table.mean())
    return Explanation(
        samples=samples,
        mean=mean_loss,
        chance_level=log(x_NC.shape[1]),
        derivation=derivation(
            [_worked(sample) for sample in samples if sample.note is None],
            mean=mean_loss,
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
