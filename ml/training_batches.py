"""The training photos as an endless row of augmented batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ml.augment import DrawKey
from ml.batch_images import training_images
from ml.cache import Pixels
from ml.config import DataConfig
from ml.device import Resolved, environment, on_device
from ml.errors import TooFewImagesError
from ml.loader import shuffled_batches
from ml.photos import LabelledPhoto
from ml.progress import Listener
from ml.ranks import ALONE, Ranks, Rows
from ml.resident import Positions
from ml.step import Batch
from ml.theory import batch_counts
from ml.theory.parts import LEAST_TRAIN


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Which photos, in which pass over them."""

    epoch: int
    positions: Positions
    share: float = 1.0
    """As in `Batch`."""
    rows: Rows | None = None
    """As in `Batch`."""


@dataclass(frozen=True, slots=True)
class TrainingBatches:
    """Makes batches; all of them are pure functions of the seed, the epoch and the photos."""

    photos: Sequence[LabelledPhoto]
    pixels: Pixels
    data: DataConfig
    batch_size: int
    seed: int
    device: torch.device
    accumulate: int = 1
    """Batches in one optimiser step."""
    class_weights: tuple[float, ...] | None = None
    pieces: int = 1
    """Parts in which a batch goes through the network, one after the other, for want of memory."""
    ranks: Ranks = ALONE
    """Of each part a process makes its own rows."""

    @property
    def per_step(self) -> int:
        """How many of the batches, or parts of batches, that are made make one optimiser step."""
        return self.accumulate * self.pieces

    @property
    def per_epoch(self) -> int:
        """Full optimiser steps in one pass."""
        return len(self.photos) // self.photos_per_step

    @property
    def photos_per_step(self) -> int:
        """Photos whose mean loss one optimiser step lowers."""
        return self.batch_size * self.accumulate

    def keys(self, epoch: int, *, first: int = 0) -> list[BatchKey]:
        """The batches of one epoch, or their parts, from the given optimiser step on."""
        order = shuffled_batches(len(self.photos), self.batch_size, seed=self.seed, epoch=epoch)
        whole = order[first * self.accumulate : self.per_epoch * self.accumulate]
        some = [piece for batch in whole for piece in np.array_split(batch, self.pieces)]
        if self.per_step == 1 and self.ranks.is_alone:
            return [BatchKey(epoch, positions) for positions in some]
        steps = [some[at : at + self.per_step] for at in range(0, len(some), self.per_step)]
        return [key for step in steps for key in self._of_step(epoch, step)]

    def _of_step(self, epoch: int, parts: list[Positions]) -> Iterator[BatchKey]:
        """This process's rows of the parts that one optimiser step consists of."""
        weight = sum(self._weight(positions) for positions in parts)
        for positions in parts:
            rows = self.ranks.rows(len(positions))
            mine = positions[rows.start : rows.stop]
            yield BatchKey(epoch, mine, self._weight(mine) / weight, rows)

    def _weight(self, positions: Positions) -> float:
        """What the batch weighs in the loss of its step."""
        if self.class_weights is None:
            return float(len(positions))
        return sum(self.class_weights[self.photos[int(place)].label] for place in positions)

    def make(self, key: BatchKey) -> Batch:
        """The batch on the device."""
        images_BCHW = training_images(
            self.pixels,
            key.positions,
            size=self.data.size,
            augment=self.data.augment,
            key=DrawKey(self.seed, key.epoch),
            device=self.device,
        )
        labels_B = np.array([self.photos[int(i)].label for i in key.positions], np.int64)
        return Batch(images_BCHW, on_device(labels_B, self.device), key.share, key.rows)

    def environment(self, precision: Resolved) -> dict[str, str | int]:
        """All that decides bits besides the configuration."""
        found = environment(precision=precision, batch_size=self.batch_size, device=self.device)
        return {**found, **devices_of(self.ranks), "pixels": self.pixels.stored}


def devices_of(ranks: Ranks) -> dict[str, str | int]:
    """Over how many devices numbers are added up, where that is not one."""
    return {} if ranks.is_alone else {"devices": ranks.count}


def endless_keys(batches: TrainingBatches) -> Iterator[BatchKey]:
    """Epoch after epoch, each in a new order."""
    epoch = 0
    while True:
        yield from batches.keys(epoch)
        epoch += 1


def fitting_accumulate(wished: int, photos: int, batch_size: int, listener: Listener) -> int:
    """The wished number of batches per step, or as many as there are, with a warning."""
    fitting = batch_counts.fitting(photos, batch_size=batch_size, accumulate=wished).accumulate
    if fitting < wished:
        listener.warning(
            "accumulate_reduced",
            f"{wished} batches of {batch_size} in one step became {fitting}: "
            f"there are {photos} photos",
        )
    return fitting


def fitting_batch_size(wished: int, photos: int, listener: Listener, ranks: Ranks = ALONE) -> int:
    """The wished batch size, or all photos when there are fewer, with a warning.

    Raises:
        TooFewImagesError: There are fewer than two photos, or fewer than processes.
    """
    needed = max(LEAST_TRAIN, ranks.count)
    if photos < needed:
        purpose = "training" if ranks.is_alone else f"training on {ranks.count} devices"
        raise TooFewImagesError(found=photos, needed=needed, purpose=purpose)
    if photos >= wished:
        return wished
    listener.warning(
        "batch_size_reduced", f"a batch of {wished} became {photos}: there are no more photos"
    )
    return photos
