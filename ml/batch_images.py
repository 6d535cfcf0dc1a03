"""What the model sees of a batch, by the kind of pixels it is made from.

Stored pixels are sampled once (`ml.augment`). Original photos go through fastai's steps: a crop
and a resize for each photo; flip, rotation, zoom and warp in one sampling at the presized size;
one crop for the whole batch, with a sampling of its own; then light.
"""

from random import Random

import torch
from torch import Tensor

from ml.augment import DrawKey, augmented_batch, centred_batch, drawn, stream_of
from ml.cache import Pixels
from ml.config import AugmentConfig
from ml.device import on_device
from ml.fastai_pixels import as_floats, cropped, lit, normalised, sampled
from ml.originals import CENTRE, Originals
from ml.resident import Positions
from ml.theory.batch_crop import centre_crop_box, draw_crop_box
from ml.theory.presize_geometry import AugmentDraws, affine, warp

_SEEDS = 2**63


def training_images(
    pixels: Pixels,
    positions: Positions,
    *,
    size: int,
    augment: AugmentConfig,
    key: DrawKey,
    device: torch.device,
) -> Tensor:
    """Normalised images of shape (B, 3, size, size), channels last, randomly changed.

    A pure function of the photos, their order and the key. Of original photos the crop follows
    from the key and the first photo.
    """
    if not isinstance(pixels, Originals):
        return augmented_batch(
            pixels, positions, size=size, augment=augment, key=key, device=device
        )
    streams = [stream_of(key, position) for position in positions.tolist()]
    square_wh = (pixels.side, pixels.side)
    draws = [drawn(stream, augment, photo_wh=square_wh) for stream in streams]
    places_xy = [(stream.random(), stream.random()) for stream in streams]
    presized_BCHW = _presized(pixels, positions, places_xy, device)
    if augment.min_scale < 1:
        rng = Random(int(streams[0].integers(_SEEDS)))  # noqa: S311  # a picture is no secret
        box = draw_crop_box(rng, square_wh, min_scale=augment.min_scale)
        images_BCHW = cropped(_turned(presized_BCHW, draws, pixels.side), box, size)
    else:
        images_BCHW = _turned(presized_BCHW, draws, size)
    bright = [draw.brightness for draw in draws]
    return _for_model(lit(images_BCHW, bright, [draw.contrast for draw in draws]))


def validation_images(
    pixels: Pixels, positions: Positions, *, size: int, device: torch.device
) -> Tensor:
    """Normalised images of shape (B, 3, size, size), channels last: the largest centred square."""
    if not isinstance(pixels, Originals):
        return centred_batch(pixels, positions, size=size, device=device)
    presized_BCHW = _presized(pixels, positions, [CENTRE] * len(positions), device)
    box = centre_crop_box((pixels.side, pixels.side))
    return _for_model(cropped(presized_BCHW, box, size))


def _presized(
    pixels: Originals,
    positions: Positions,
    places_xy: list[tuple[float, float]],
    device: torch.device,
) -> Tensor:
    return as_floats(on_device(pixels.squares(positions.tolist(), places_xy), device))


def _turned(images_BCHW: Tensor, draws: list[AugmentDraws], size: int) -> Tensor:
    affines = [
        affine(
            flip=draw.flip,
            rotate_deg=draw.rotate_deg,
            zoom=draw.zoom,
            zoom_centre_xy=draw.zoom_centre_xy,
        )
        for draw in draws
    ]
    warps = [warp(draw.warp_xy) for draw in draws]
    return sampled(images_BCHW, affines, warps, size_hw=(size, size))


def _for_model(images_BCHW: Tensor) -> Tensor:
    return normalised(images_BCHW).contiguous(memory_format=torch.channels_last)
