"""The training photos as an endless row of augmented batches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ml.augment import DrawKey, Positions, augmented_batch
from ml.cache import Pixels
from ml.config import DataConfig
from ml.device import Resolved
from ml.errors import TooFewImagesError
from ml.images import decoder_name
from ml.loader import shuffled_batches
from ml.photos import LabelledPhoto
from ml.progress import Listener
from ml.step import Batch
from ml.theory.parts import LEAST_TRAIN


@dataclass(frozen=True, slots=True)
class BatchKey:
    """Which photos, in which pass over them."""

    epoch: int
    positions: Positions


@dataclass(frozen=True, slots=True)
class TrainingBatches:
    """Makes batches; all of them are pure functions of the seed, the epoch and the photos."""

    photos: Sequence[LabelledPhoto]
    pixels: Pixels
    data: DataConfig
    batch_size: int
    seed: int
    device: torch.device

    @property
    def per_epoch(self) -> int:
        """Full batches in one pass."""
        return len(self.photos) // self.batch_size

    def keys(self, epoch: int, *, first: int = 0) -> list[BatchKey]:
        """The batches of one epoch from the given one on."""
        order = shuffled_batches(len(self.photos), self.batch_size, seed=self.seed, epoch=epoch)
        return [BatchKey(epoch, positions) for positions in order[first:]]

    def make(self, key: BatchKey) -> Batch:
        """The batch on the device."""
        images_BCHW = augmented_batch(
            self.pixels,
            key.positions,
            size=self.data.size,
            augment=self.data.augment,
            key=DrawKey(self.seed, key.epoch),
            device=self.device,
        )
        labels_B = np.array([self.photos[int(i)].label for i in key.positions], np.int64)
        return Batch(images_BCHW, torch.from_numpy(labels_B).to(self.device, non_blocking=True))

    def environment(self, precision: Resolved) -> dict[str, str | int]:
        """All that decides bits besides the configuration."""
        return {
            "precision": precision,
            "batch_size": self.batch_size,
            "device": self.device.type,
            "torch_threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            "decoder": decoder_name(),
        }


def endless_keys(batches: TrainingBatches) -> Iterator[BatchKey]:
    """Epoch after epoch, each in a new order."""
    epoch = 0
    while True:
        yield from batches.keys(epoch)
        epoch += 1


def fitting_batch_size(wished: int, photos: int, listener: Listener) -> int:
    """The wished batch size, or all photos when there are fewer, with a warning.

    Raises:
        TooFewImagesError: There are fewer than two photos.
    """
    if photos < LEAST_TRAIN:
        raise TooFewImagesError(found=photos, needed=LEAST_TRAIN, purpose="training")
    if photos >= wished:
        return wished
    listener.warning(
        "batch_size_reduced", f"a batch of {wished} became {photos}: there are no more photos"
    )
    return photos
