"""What is known of each architecture without building it: groups, sizes, weight files.

The table is ``architectures.json`` beside this file, which ``ml.generate_architectures`` writes.
"""

import difflib
import functools
import json
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any

from ml.theory.errors import TheoryError


class UnknownArchitectureError(TheoryError, LookupError):
    """No architecture has this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.did_you_mean = tuple(difflib.get_close_matches(name, names(), n=3))
        close = f"did you mean {' or '.join(self.did_you_mean)}?"
        hint = close if self.did_you_mean else f"known are {', '.join(names())}"
        super().__init__(f"no architecture is named {name!r}; {hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One row of the table; module names are torchvision's."""

    name: str
    family: str
    features: int
    """Channels of the body's last feature map, or length of its vector."""
    vector_features: bool
    """The body gives one vector for each photo instead of a map."""
    signed_input: bool
    """The pretrained weights expect colours from -1 to 1."""
    body: tuple[str, ...]
    """Top-level children (and weights) kept, in order."""
    cut: tuple[str, ...]
    """Top-level children dropped: pooling, classifier of the 1,000 classes, auxiliary ones."""
    groups: tuple[tuple[str, ...], ...]
    """Modules (and single weights) of each layer group of the body; the head follows."""
    group_parameters: tuple[int, ...]
    """Number of weights in each layer group of the body."""
    blocks: int
    """Number of blocks of the body, each of which has a rate of its own with layer decay."""
    smallest_image_px: int
    fixed_image_px: int | None
    """The only size that works, of networks whose weights depend on it."""
    weights: MappingProxyType[str, str]
    """Weight name to checkpoint file name."""
    default_weights: str

    @property
    def layer_groups(self) -> int:
        """Number of layer groups, the head included."""
        return len(self.groups) + 1

    def num_rates(self, *, per_block: bool) -> int:
        """Number of learning rates: one for each block or layer group, and the head's."""
        return self.blocks + 1 if per_block else self.layer_groups

    @property
    def image_px_wanted(self) -> str:
        """The sizes that the network takes, in words."""
        if self.fixed_image_px is not None:
            return f"exactly {self.fixed_image_px} px"
        return f"at least {self.smallest_image_px} px"

    def takes_image_px(self, image_px: int) -> bool:
        """Whether photos of this size can go through the network."""
        if self.fixed_image_px is not None:
            return image_px == self.fixed_image_px
        return image_px >= self.smallest_image_px


def names() -> tuple[str, ...]:
    """All known names, in the table's order."""
    return tuple(_table())


def get(name: str) -> Architecture:
    """The row of this name.

    Raises:
        UnknownArchitectureError: The table has no such row; the error carries close matches.
    """
    try:
        return _table()[name]
    except KeyError:
        raise UnknownArchitectureError(name) from None


@functools.cache
def _table() -> MappingProxyType[str, Architecture]:
    text = resources.files(__package__).joinpath("architectures.json").read_text("utf-8")
    return MappingProxyType({name: _row(name, row) for name, row in json.loads(text).items()})


def _row(name: str, row: dict[str, Any]) -> Architecture:
    return Architecture(
        name=name,
        family=row["family"],
        features=row["features"],
        vector_features=row["vector_features"],
        signed_input=row["signed_input"],
        body=tuple(row["body"]),
        cut=tuple(row["cut"]),
        groups=tuple(tuple(group) for group in row["groups"]),
        group_parameters=tuple(row["group_parameters"]),
        blocks=row["blocks"],
        smallest_image_px=row["smallest_image_px"],
        fixed_image_px=row["fixed_image_px"],
        weights=MappingProxyType(row["weights"]),
        default_weights=row["default_weights"],
    )
