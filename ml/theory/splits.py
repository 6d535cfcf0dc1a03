"""Which samples train and which validate, and the order of the classes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ml.theory.errors import InvalidInputError, UnknownLabelError


@dataclass(frozen=True, slots=True)
class Split:
    """Indices of both parts, each in the order of the shuffle; together they are all samples."""

    train: tuple[int, ...]
    valid: tuple[int, ...]


def random_split(n: int, valid_fraction: float, seed: int) -> Split:
    """The first ``int(valid_fraction * n)`` of a seeded shuffle validate, the rest train.

    The same indices as fastai's RandomSplitter, whatever the platform; fewer than
    ``1 / valid_fraction`` samples leave the valid part empty. It fixes the split only as far as
    the samples' order is fixed.

    Raises:
        InvalidInputError: the fraction is not in [0, 1].
    """
    order = shuffled(n, seed)
    cut = int(_fraction(valid_fraction) * n)
    return Split(train=tuple(order[cut:]), valid=tuple(order[:cut]))


def stratified_split(labels: Sequence[str], valid_fraction: float, seed: int) -> Split:
    """A seeded split of ``int(valid_fraction * n)`` samples whose classes keep their shares.

    Every class gives its share rounded down; the places left over go to classes that have two
    samples or more and none in valid yet, then by the largest remainder. A class keeps at least
    one sample in train, so a class of one never validates, and valid may stay smaller.

    Raises:
        InvalidInputError: the fraction is not in [0, 1].
    """
    order = shuffled(len(labels), seed)
    members: dict[str, list[int]] = {label: [] for label in sorted(set(labels))}
    for index in order:
        members[labels[index]].append(index)
    sizes = {label: len(indices) for label, indices in members.items()}
    places = _valid_places(sizes, _fraction(valid_fraction))
    chosen = {index for label, indices in members.items() for index in indices[: places[label]]}
    return Split(
        train=tuple(index for index in order if index not in chosen),
        valid=tuple(index for index in order if index in chosen),
    )


def vocabulary(labels: Iterable[str]) -> tuple[str, ...]:
    """The distinct labels in code-point order: capitals before small letters."""
    return tuple(sorted(set(labels)))


def encode(labels: Iterable[str], classes: Sequence[str]) -> tuple[int, ...]:
    """Each label's place in ``classes``.

    Raises:
        UnknownLabelError: a label is not among them, for instance one found outside train only.
    """
    places = {label: place for place, label in enumerate(classes)}
    try:
        return tuple(places[label] for label in labels)
    except KeyError as missing:
        raise UnknownLabelError(missing.args[0]) from None


def shuffled(n: int, seed: int) -> list[int]:
    """The numbers 0 to n - 1 in the order that torch.randperm gives on a CPU with this seed.

    Fisher-Yates over the Mersenne Twister; of the seed the low 32 bits count.
    """
    twister = np.random.MT19937()
    twister._legacy_seeding(seed & 0xFFFFFFFF)  # the seeding that torch shares
    draws = twister.random_raw(max(n - 1, 0)).tolist()
    order = list(range(n))
    for place, draw in enumerate(draws):
        other = place + draw % (n - place)
        order[place], order[other] = order[other], order[place]
    return order


def _valid_places(sizes: dict[str, int], valid_fraction: float) -> dict[str, int]:
    """How many samples of each class validate."""
    spare = {label: max(size - 1, 0) for label, size in sizes.items()}
    share = {label: valid_fraction * size for label, size in sizes.items()}
    places = {label: min(int(share[label]), spare[label]) for label in sizes}
    left = int(valid_fraction * sum(sizes.values())) - sum(places.values())
    by_need = sorted(sizes, key=lambda label: (places[label] > 0, places[label] - share[label]))
    while left > 0 and any(places[label] < spare[label] for label in sizes):
        for label in by_need:
            if left > 0 and places[label] < spare[label]:
                places[label] += 1
                left -= 1
    return places


def _fraction(valid_fraction: float) -> float:
    if not 0 <= valid_fraction <= 1:
        raise InvalidInputError("valid_fraction", f"valid_fraction is {valid_fraction}; use 0 to 1")
    return valid_fraction
