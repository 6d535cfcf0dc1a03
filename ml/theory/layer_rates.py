"""Discriminative rates: one learning rate spread over layer groups, body first, head last."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from ml.theory.errors import InvalidInputError

DEFAULT_LR_MULT = 100.0


@dataclass(frozen=True, slots=True)
class LowestHighest:
    """Rates that grow geometrically from the first group to the last."""

    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class PerGroup:
    """One rate for each layer group, as given."""

    per_group: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LrMult:
    """The first group's rate is the head's over ``lr_mult``, geometric between."""

    lr_mult: float = DEFAULT_LR_MULT


@dataclass(frozen=True, slots=True)
class LayerDecay:
    """Each group's rate is ``layer_decay`` times the rate of the next one."""

    layer_decay: float = 0.75


LearningRate = float | LowestHighest | PerGroup
Discriminative = LrMult | LayerDecay | Literal["off"]


@dataclass(frozen=True, slots=True)
class Peaks:
    """Highest rate of each layer group in both phases of a fine-tune."""

    frozen: tuple[float, ...]
    unfrozen: tuple[float, ...]


def constant(rate: float, num_groups: int) -> tuple[float, ...]:
    """The same rate for every group."""
    return (_rate(rate),) * _groups(num_groups)


def geometric(lowest: float, highest: float, num_groups: int) -> tuple[float, ...]:
    """Rates with equal ratios from ``lowest`` to ``highest``; a single group has ``highest``.

    fastai's ``slice(lowest, highest)``. Falling rates are allowed.
    """
    _rate(lowest), _rate(highest)
    if _groups(num_groups) == 1:
        return (highest,)
    ratio = (highest / lowest) ** (1 / (num_groups - 1))
    return tuple(lowest * ratio**group for group in range(num_groups))


def tenth_below(highest: float, num_groups: int) -> tuple[float, ...]:
    """``highest`` for the last group and a tenth of it for all others: ``slice(highest)``."""
    return (_rate(highest) / 10,) * (_groups(num_groups) - 1) + (highest,)


def as_listed(rates: Sequence[float], num_groups: int) -> tuple[float, ...]:
    """The rates as listed, one a group; a single rate serves all groups.

    Raises:
        InvalidInputError: there are more or fewer rates than groups.
    """
    listed = tuple(_rate(rate) for rate in rates)
    if len(listed) == 1:
        return listed * _groups(num_groups)
    if len(listed) != num_groups:
        raise InvalidInputError(
            "learning_rate", f"{len(listed)} rates for {num_groups} layer groups"
        )
    return listed


def layer_decay_scales(
    num_blocks: int, layer_decay: float, *, min_scale: float = 0.0
) -> tuple[float, ...]:
    """Factors on the head's rate, first block first: ``layer_decay ** blocks_above``, floored.

    Clark et al. 2020, arXiv:2003.10555, as timm computes it; the last factor is 1.

    Raises:
        InvalidInputError: ``layer_decay`` is not in (0, 1].
    """
    if not 0 < layer_decay <= 1:
        raise InvalidInputError(
            "discriminative", f"layer_decay is {layer_decay}; use above 0 up to 1"
        )
    above = range(_groups(num_blocks) - 1, -1, -1)
    return tuple(max(min_scale, layer_decay**blocks) for blocks in above)


def fine_tune_peaks(base_lr: float, lr_mult: float = DEFAULT_LR_MULT, num_groups: int = 3) -> Peaks:
    """Peaks of fastai's fine_tune.

    Frozen: ``base_lr`` for the head, a tenth below. Unfrozen: half of ``base_lr`` for the head,
    that over ``lr_mult`` for the first group, geometric between.
    """
    if not 0 < lr_mult < inf:
        raise InvalidInputError("discriminative", f"lr_mult is {lr_mult}; use a number above 0")
    half = _rate(base_lr) / 2
    return Peaks(
        frozen=tenth_below(base_lr, num_groups),
        unfrozen=geometric(half / lr_mult, half, num_groups),
    )


def resolve_peaks(
    learning_rate: LearningRate,
    *,
    num_groups: int,
    discriminative: Discriminative | None = None,
) -> Peaks:
    """Peaks of both phases for any way of asking for a rate.

    A number is fastai's base_lr, spread as ``discriminative`` says (default `LrMult`).
    `LowestHighest` and `PerGroup` are the unfrozen peaks as given; the frozen head then peaks at
    the highest of them, the rest a tenth below.

    Raises:
        InvalidInputError: a rate is not positive, their number is wrong, or ``discriminative``
            stands beside rates that are already spread.
    """
    if isinstance(learning_rate, LowestHighest | PerGroup):
        if discriminative is not None:
            raise InvalidInputError(
                "discriminative", "the learning rate is already spread; leave this out"
            )
        unfrozen = _given(learning_rate, num_groups)
        return Peaks(frozen=tenth_below(max(unfrozen), num_groups), unfrozen=unfrozen)
    if discriminative == "off":
        return Peaks(constant(learning_rate, num_groups), constant(learning_rate / 2, num_groups))
    if isinstance(discriminative, LayerDecay):
        return _decayed(learning_rate, discriminative.layer_decay, num_groups)
    return fine_tune_peaks(learning_rate, (discriminative or LrMult()).lr_mult, num_groups)


def _given(learning_rate: LowestHighest | PerGroup, num_groups: int) -> tuple[float, ...]:
    if isinstance(learning_rate, PerGroup):
        return as_listed(learning_rate.per_group, num_groups)
    return geometric(learning_rate.lowest, learning_rate.highest, num_groups)


def _decayed(base_lr: float, layer_decay: float, num_groups: int) -> Peaks:
    scales = layer_decay_scales(num_groups, layer_decay)
    return Peaks(
        frozen=tuple(_rate(base_lr) * scale for scale in scales),
        unfrozen=tuple(base_lr / 2 * scale for scale in scales),
    )


def _rate(rate: float) -> float:
    if not 0 < rate < inf:
        raise InvalidInputError("learning_rate", f"the rate {rate} is not a finite number above 0")
    return rate


def _groups(num_groups: int) -> int:
    if num_groups < 1:
        raise InvalidInputError("num_layer_groups", f"{num_groups} layer groups; use at least 1")
    return num_groups
