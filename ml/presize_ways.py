"""The pixels of presizing, beside fastai's, beside changes step by step, beside the original's.

Pictures are S x S x RGB, uint8; what they read is `ml.theory.presize_ways`.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ml.fastai_pixels import LEVELS, as_floats, cropped, resized, sampled
from ml.images import Rgb
from ml.sampling import Matrix, draw, stride
from ml.theory.presize_ways import Scene, Step

_MARGIN_PX = 4
_LEAST_SAMPLES, _MOST_SAMPLES_A_SIDE = 4, 2048
_SAMPLES_A_PIXEL = 1.5


def stepwise(
    images_BCHW: Tensor,
    steps: Sequence[Step],
    *,
    size_hw: tuple[int, int],
    align_corners: bool = True,
) -> Tensor:
    """Each image under one step after another, in a sampling of its own; the first one resizes."""
    count = len(images_BCHW)
    for step in steps:
        images_BCHW = sampled(
            images_BCHW,
            [step.affine] * count,
            [step.warp] * count,
            size_hw=size_hw,
            align_corners=align_corners,
        )
    return images_BCHW


def single(stored: Rgb, scene: Scene) -> Rgb:
    """The stored photo, sampled once, as a training sees it but for its light."""
    picture_3SS = draw(stored, scene.draws.matrix(scene.stored_wh, scene.size), scene.size)
    return np.ascontiguousarray(picture_3SS.transpose(1, 2, 0))


def as_fastai(photo: Rgb, scene: Scene) -> Rgb:
    """The whole photo through fastai's steps, without light."""
    square_1CHW = _batch(resized(photo, scene.square()))
    turn, crop = scene.turn(), scene.crop()
    if crop is None:
        return _picture(stepwise(square_1CHW, [turn], size_hw=(scene.size, scene.size)))
    turned_1CHW = stepwise(square_1CHW, [turn], size_hw=(scene.presize, scene.presize))
    return _picture(cropped(turned_1CHW, crop, scene.size))


def step_by_step(stored: Rgb, scene: Scene) -> Rgb:
    """The crop of the stored photo, resized, then changed in one sampling for each change."""
    size_hw = (scene.size, scene.size)
    return _picture(stepwise(_batch(stored), scene.steps(), size_hw=size_hw, align_corners=False))


def from_original(photo: Rgb, matrix: Matrix, size: int) -> Rgb:
    """What the map shows of the original: the whole photo, supersampled, then reduced.

    Each pixel is a Lanczos mean, three pixels either way, of 4 x 4 samples or more, which lie at
    most one pixel of what is sampled apart. That is the photo itself; one of more than about nine
    million pixels is first averaged over blocks, each no wider than a sample.
    """
    wide = size + 2 * _MARGIN_PX
    step_px = stride(matrix, size)
    most = max(_LEAST_SAMPLES, _MOST_SAMPLES_A_SIDE // wide)
    samples = min(max(_LEAST_SAMPLES, math.ceil(_SAMPLES_A_PIXEL * step_px)), most)
    block = max(1, math.ceil(step_px / samples))
    blocks = np.asarray(Image.fromarray(photo).reduce(block)) if block > 1 else photo
    to_output = np.array([[1 / samples, 0, -_MARGIN_PX], [0, 1 / samples, -_MARGIN_PX], [0, 0, 1]])
    fine = np.diag([1 / block, 1 / block, 1.0]) @ matrix @ to_output
    sampled_3FF = draw(blocks, fine, wide * samples)
    image = Image.fromarray(np.ascontiguousarray(sampled_3FF.transpose(1, 2, 0)))
    reduced = image.resize((wide, wide), Image.Resampling.LANCZOS)
    return np.asarray(reduced)[_MARGIN_PX:-_MARGIN_PX, _MARGIN_PX:-_MARGIN_PX]


def _batch(photo: Rgb) -> Tensor:
    return as_floats(torch.from_numpy(photo.copy())[None])


def _picture(image_1CHW: Tensor) -> Rgb:
    levels_CHW = image_1CHW[0].mul(LEVELS).round().clamp(0, LEVELS).byte()
    return levels_CHW.permute(1, 2, 0).contiguous().numpy()
