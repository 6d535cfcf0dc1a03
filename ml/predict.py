"""Logits of single photos, as the ledger of an evaluation would have them.

Shapes: N = photos that can be read, C = classes.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ml.backbones import ImageClassifier
from ml.batch_images import validation_images
from ml.cache import LoosePixels, Pixels
from ml.errors import UnreadableImageError
from ml.evaluate import Logits
from ml.fastai_pixels import resized
from ml.images import Rgb, decode_as_stored, decode_rgb, presize
from ml.model_file import ModelCard
from ml.originals import CENTRE, Originals
from ml.theory.presize_geometry import Pair, resize_box

Decoded = Rgb | UnreadableImageError


def predict_files(
    model: ImageClassifier,
    card: ModelCard,
    paths: Sequence[Path],
    *,
    threads: int,
    max_pixels: int,
) -> list[Logits | UnreadableImageError]:
    """Of each file the logits, shape (C,), or why it cannot be read; float32, on the CPU."""
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        decoded = list(pool.map(partial(_decoded, card, max_pixels), paths))
    photos = [each for each in decoded if not isinstance(each, UnreadableImageError)]
    logits_NC = iter(_logits(model, card, photos))
    return [each if isinstance(each, UnreadableImageError) else next(logits_NC) for each in decoded]


def _decoded(card: ModelCard, max_pixels: int, path: Path) -> Decoded:
    """The photo as `validation_images` wants it: presized, or the square that fastai resizes."""
    try:
        if card.presize_mode == "single":
            photo = decode_rgb(path, min_short_side=card.presize, max_pixels=max_pixels)
            return presize(photo, card.presize)
        photo = decode_as_stored(path, max_pixels=max_pixels)
    except UnreadableImageError as problem:
        return problem
    height, width = photo.shape[:2]
    return resized(photo, resize_box((width, height), card.presize, place_xy=CENTRE))


def _logits(model: ImageClassifier, card: ModelCard, photos: Sequence[Rgb]) -> Logits:
    if not photos:
        return np.empty((0, len(card.classes)), np.float32)
    pixels: Pixels = (
        LoosePixels(photos) if card.presize_mode == "single" else _Squares(photos, card.presize)
    )
    images_BCHW = validation_images(
        pixels, np.arange(len(photos)), size=card.size, device=torch.device("cpu")
    )
    with torch.inference_mode():
        logits_NC: Logits = model(images_BCHW).numpy()
    return logits_NC


class _Squares(Originals):
    """The squares of photos that are decoded already."""

    def __init__(self, squares: Sequence[Rgb], side: int) -> None:
        self._squares = squares
        self.side = side

    def __len__(self) -> int:
        return len(self._squares)

    def squares(self, positions: Sequence[int], places_xy: Sequence[Pair]) -> Rgb:
        return np.stack([self._squares[position] for position in positions])
