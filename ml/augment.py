"""Batches for the model: random changes for training, the centre for validation.

Every change of shape is folded into one homography and every change of light into one table, so
each photo is sampled once, straight from its stored pixels. Unlike fastai the crop is drawn for
each photo, not for each batch. Shapes: B = batch, T = the 256 levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.cache import Pixels
from ml.config import AugmentConfig
from ml.resident import OnHost, Positions, taken
from ml.sampling import Floats, draw_batch
from ml.theory.presize_geometry import AugmentDraws, centre_matrix, draw_augmentation
from ml.warping import lit, warp_batch

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
NEUTRAL_BRIGHTNESS = 0.5
NEUTRAL_CONTRAST = 1.0

_LEVELS_T = np.clip(np.arange(256) / 255, 1e-7, 1 - 1e-7)
_ODDS_T = np.log(_LEVELS_T / (1 - _LEVELS_T))


@dataclass(frozen=True, slots=True)
class DrawKey:
    """What the draws of one pass over the photos follow from."""

    seed: int
    pass_number: int
    """Counts the passes of the whole run, from 0."""


def augmented_batch(
    pixels: Pixels,
    positions: Positions,
    *,
    size: int,
    augment: AugmentConfig,
    key: DrawKey,
    device: torch.device,
) -> Tensor:
    """Normalised images of shape (B, 3, size, size), channels last, randomly changed.

    The change of a photo is a pure function of the key and its position.
    """
    photos = taken(pixels, positions, device, warp_batch)
    draws = [
        drawn(stream_of(key, position), augment, photo_wh=size_wh)
        for size_wh, position in zip(photos.sizes_wh, positions.tolist(), strict=True)
    ]
    matrices = [
        draw.matrix(size_wh, size) for size_wh, draw in zip(photos.sizes_wh, draws, strict=True)
    ]
    tables_B3T = lighting_tables(
        [draw.brightness for draw in draws], [draw.contrast for draw in draws]
    )
    return photos.drawn(matrices, tables_B3T, size).permute(0, 3, 1, 2)


def centred_batch(
    pixels: Pixels, positions: Positions, *, size: int, device: torch.device
) -> Tensor:
    """Normalised images of shape (B, 3, size, size), channels last: the largest centred square.

    Photos that are such squares already (`ml.centres`) are taken as they are.
    """
    photos = taken(pixels, positions, device, draw_batch)
    if isinstance(photos, OnHost) and all(each == (size, size) for each in photos.sizes_wh):
        return _neutral(np.stack(photos.photos))
    matrices = [centre_matrix(size_wh, size) for size_wh in photos.sizes_wh]
    neutral_B3T = lighting_tables(
        [NEUTRAL_BRIGHTNESS] * len(matrices), [NEUTRAL_CONTRAST] * len(matrices)
    )
    return photos.drawn(matrices, neutral_B3T, size).permute(0, 3, 1, 2)


def lighting_tables(brightness_B: Sequence[float], contrast_B: Sequence[float]) -> Floats:
    """Normalised value of each level under the given light: shape (B, 3, T).

    The level in [0, 1] becomes ``sigmoid((logit(level) + logit(brightness)) * contrast)``, then
    the mean and the deviation of ImageNet are taken out.
    """
    brightness_B1 = np.asarray(brightness_B, np.float64)[:, None]
    contrast_B1 = np.asarray(contrast_B, np.float64)[:, None]
    shift_B1 = np.log(brightness_B1 / (1 - brightness_B1))
    lit_BT = 1 / (1 + np.exp(-(_ODDS_T + shift_B1) * contrast_B1))
    means_31, stds_31 = np.array(MEAN)[:, None], np.array(STD)[:, None]
    tables_B3T: Floats = ((lit_BT[:, None, :] - means_31) / stds_31).astype(np.float32)
    return tables_B3T


def stream_of(key: DrawKey, position: int) -> np.random.Generator:
    """The random numbers of one photo in one pass, from their beginning."""
    words = np.array([key.seed, (key.pass_number << 32) | position], np.uint64)
    return np.random.Generator(np.random.Philox(key=words))


def drawn(
    stream: np.random.Generator, augment: AugmentConfig, *, photo_wh: tuple[int, int]
) -> AugmentDraws:
    """The stream's next draws, within the configured ranges."""
    return draw_augmentation(
        stream,
        photo_wh=photo_wh,
        min_scale=augment.min_scale,
        max_rotate=augment.max_rotate,
        max_zoom=augment.max_zoom,
        max_lighting=augment.max_lighting,
        max_warp=augment.max_warp,
        flip=augment.flip,
    )


def _neutral(levels_BSS3: NDArray[np.uint8]) -> Tensor:
    (table_3T,) = lighting_tables([NEUTRAL_BRIGHTNESS], [NEUTRAL_CONTRAST])
    images_BSS3 = np.empty(levels_BSS3.shape, np.float32)
    for levels_SS3, image_SS3 in zip(levels_BSS3, images_BSS3, strict=True):
        lit(levels_SS3, table_3T, out=image_SS3)
    return torch.from_numpy(images_BSS3).permute(0, 3, 1, 2)
