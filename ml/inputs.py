"""What a fine-tune is given."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ml.backbones import ImageClassifier
from ml.cache import Pixels
from ml.config import FineTuneConfig
from ml.device import Resolved
from ml.photos import LabelledPhoto
from ml.placement import placed
from ml.progress import Listener
from ml.ranks import ALONE, Ranks
from ml.resumption import Elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a fine-tune is given."""

    config: FineTuneConfig
    train: Sequence[LabelledPhoto]
    pixels: Pixels
    valid: Sequence[LabelledPhoto]
    valid_pixels: Pixels
    listener: Listener
    device: torch.device
    pieces: int = 1
    """As in `TrainingBatches`. A run may go on with others: its steps stay the same."""
    elsewhere: Elsewhere = "fail"
    ranks: Ranks = ALONE
    """Of several processes; the listener is the one that all of them share."""
    step_times: Path | None = None
    """A folder in which it is kept what steps take on a GPU; None: all are taken eagerly."""

    @property
    def photos_at_once(self) -> int:
        """Most photos in one evaluating pass through the network."""
        return math.ceil(self.config.data.batch_size / self.pieces)

    def placed(self, model: ImageClassifier, precision: Resolved) -> "Inputs":
        """The photos are on the GPU where they fit; once memory was too small it is left free."""
        if self.pieces > 1:
            return self
        pixels, valid_pixels = placed(
            [self.pixels, self.valid_pixels],
            model,
            photos_at_once=math.ceil(self.photos_at_once / self.ranks.count),
            size=self.config.data.size,
            precision=precision,
            device=self.device,
        )
        return replace(self, pixels=pixels, valid_pixels=valid_pixels)
