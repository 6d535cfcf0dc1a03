"""The reasoning behind a cross-entropy, as sentences that carry the batch's own numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log


@dataclass(frozen=True, slots=True)
class Worked:
    """The numbers of one sample whose loss is finite."""

    index: int
    target: int
    name: str
    activations: tuple[float, ...]
    probabilities: tuple[float, ...]
    loss: float
    plain_loss: float

    @property
    def p_target(self) -> float:
        """Probability that the softmax gives to the target, in [0, 1]."""
        return self.probabilities[self.target]


def derivation(
    samples: Sequence[Worked], *, mean: float | None, smoothing: float, weighted: bool
) -> tuple[str, ...]:
    """Sentences that lead from activations to the mean loss; empty when no sample has a loss."""
    if not samples:
        return ()
    first = samples[0]
    sentences = [_softmax_step(first)]
    if len(first.activations) == 2:
        sentences.append(_two_class_step(first))
    sentences += [
        _loss_step(first),
        _not_one_minus_p(samples),
        "Loss is 0 only when the probability of the target is 1; probability 0 is right for the "
        "other classes, and for the target it gives an infinite loss.",
        "Only differences of activations matter: adding the same number to a whole row changes "
        "nothing.",
        "nll_loss expects logarithms of probabilities. Given probabilities it returns -p, here "
        f"{_numbers([-sample.p_target for sample in samples])}, which is not the loss. "
        "cross_entropy takes the raw activations and does softmax and logarithm itself.",
        f"The gradient by the activations is {_gradient_words(smoothing, weighted)}.",
        *_variations(samples, smoothing=smoothing, weighted=weighted),
        _mean_step(samples, mean=mean, weighted=weighted),
        _chance_step(len(first.activations)),
    ]
    return tuple(sentences)


def _softmax_step(sample: Worked) -> str:
    return (
        f"Softmax: exp of each activation over the sum of all. Sample {sample.index} has "
        f"activations {_numbers(sample.activations)}, so its probabilities are "
        f"{_numbers(sample.probabilities)}, which sum to 1, even for a picture of no class at all."
    )


def _two_class_step(sample: Worked) -> str:
    a0, a1 = sample.activations
    return (
        "With two classes, exp(a0) / (exp(a0) + exp(a1)) divided through by exp(a0) is "
        "1 / (1 + exp(-(a0 - a1))): the softmax is the sigmoid of the difference a0 - a1. "
        f"Here a0 - a1 = {a0 - a1:.4f} and its sigmoid is {sample.probabilities[0]:.4f}."
    )


def _loss_step(sample: Worked) -> str:
    return (
        f"The target of sample {sample.index} is {sample.name}, with probability "
        f"{sample.p_target:.4f}. Its cross-entropy is minus the natural logarithm: "
        f"-ln {sample.p_target:.4f} = {sample.plain_loss:.4f}."
    )


def _not_one_minus_p(samples: Sequence[Worked]) -> str:
    worst = max(samples, key=lambda sample: sample.plain_loss)
    return (
        f"The loss is not 1 - p, here {_numbers([1 - sample.p_target for sample in samples])}: "
        "that never exceeds 1 and hardly tells bad from hopeless. Sample "
        f"{worst.index} gives its target {worst.p_target:.4f}, where 1 - p is "
        f"{1 - worst.p_target:.4f} and the cross-entropy {worst.plain_loss:.4f}."
    )


def _gradient_words(smoothing: float, weighted: bool) -> str:
    if smoothing > 0 or weighted:
        return "softmax minus the target's share, with smoothing and weights in both"
    return "softmax minus one-hot: the probability of each class, less 1 for the target"


def _variations(samples: Sequence[Worked], *, smoothing: float, weighted: bool) -> list[str]:
    first = samples[0]
    changed = f"sample {first.index}: {first.plain_loss:.4f} becomes {first.loss:.4f}"
    sentences = []
    if smoothing > 0:
        sentences.append(
            f"Label smoothing {smoothing:g} takes that share from the target and spreads it over "
            f"all classes, so the least possible loss is above 0; {changed}."
        )
    if weighted:
        sentences.append(f"Class weights multiply the loss by the weight of the target; {changed}.")
    return sentences


def _mean_step(samples: Sequence[Worked], *, mean: float | None, weighted: bool) -> str:
    if mean is None:
        return "The mean loss is not finite, because the loss of a sample is not."
    divisor = "the sum of the targets' weights" if weighted else f"the {len(samples)} samples"
    losses = _numbers([sample.loss for sample in samples])
    return (
        f"The mean is the sum of the losses {losses} over {divisor}: {mean:.4f}. It is not the "
        "error rate: it also counts how sure a wrong answer was."
    )


def _chance_step(classes: int) -> str:
    return (
        f"A guess of equal probabilities for {classes} classes has the loss ln {classes} = "
        f"{log(classes):.4f}; below it the model has learnt something. A loss may exceed 1."
    )


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:.4f}" for value in values[:10])
    return f"[{shown}{', …' if len(values) > 10 else ''}]"
