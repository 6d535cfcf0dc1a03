"""The parts of a dataset: which photos train, validate and test, and whether that suffices.

The API asks before an import what the import asks in earnest, so both ask here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ml.theory.errors import InvalidInputError
from ml.theory.splits import random_split, stratified_split

Part = Literal["train", "valid", "test"]

PARTS: tuple[Part, ...] = ("train", "valid", "test")
LEAST_CLASSES = 2
LEAST_TRAIN = 2
"""Batch norm in the new head has no variance of a single photo."""

_NAMES: Mapping[Part, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""As Hugging Face's datasets read them (`SPLIT_KEYWORDS`)."""
_PART_OF_NAME = {name: part for part, names in _NAMES.items() for name in names}


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why photos cannot be trained on, and what would be right."""

    code: Literal["too_few_classes", "too_few_images"]
    message: str
    remedy: str


def random_parts(
    labels: Sequence[str], valid_fraction: float, seed: int, *, stratify: bool
) -> tuple[Part, ...]:
    """The part of each sample, drawn by `stratified_split` or else by `random_split`.

    Raises:
        InvalidInputError: the fraction is not in [0, 1].
    """
    if stratify:
        split = stratified_split(labels, valid_fraction, seed)
    else:
        split = random_split(len(labels), valid_fraction, seed)
    valid = frozenset(split.valid)
    return tuple("valid" if place in valid else "train" for place in range(len(labels)))


def folder_part(path: str) -> Part | None:
    """The part that the path's first folder names as `part_named` reads it; else None."""
    folder, slash, _ = path.partition("/")
    return _PART_OF_NAME.get(folder) if slash else None


def part_named(name: str) -> Part:
    """The part of this name: train, valid, test, or another usual word for one of them.

    Raises:
        InvalidInputError: it names none.
    """
    if name not in _PART_OF_NAME:
        known = ", ".join(_PART_OF_NAME)
        raise InvalidInputError("part", f"it names no part; use one of {known}")
    return _PART_OF_NAME[name]


def shortage(labels: Sequence[str | None], parts: Sequence[Part | None]) -> Shortage | None:
    """What these photos lack to be trained on; None when they lack nothing.

    A photo without a part is left out, and so does not count. Photos of which none has a label
    are there to be looked at: any one of them is enough.
    """
    used = [label for label, part in zip(labels, parts, strict=True) if part is not None]
    if not used:
        return Shortage(
            "too_few_images",
            "no photo lies in a folder named train, valid, val or test",
            'put the photos into such folders, or send "split": {"rule": "random"}',
        )
    named = Counter(label for label in used if label is not None)
    return shortage_of(named, sum(part == "train" for part in parts)) if named else None


def shortage_of(classes: Mapping[str, int], train: int) -> Shortage | None:
    """As `shortage`, of photos that are counted already, by label and those that train."""
    used = sum(classes.values())
    if len(classes) < LEAST_CLASSES:
        return Shortage(
            "too_few_classes",
            f"all {used} photos have the one label {next(iter(classes), None)!r}",
            f"a classifier needs at least {LEAST_CLASSES} classes",
        )
    if train < LEAST_TRAIN:
        return Shortage(
            "too_few_images",
            f"of {used} photos {train} would be left to train on",
            f"at least {LEAST_TRAIN} are needed; lower valid_fraction or add photos",
        )
    return None
