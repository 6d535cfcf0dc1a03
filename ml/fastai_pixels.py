"""The pixels of fastai's presizing: a resize for each photo, then samplings of whole batches.

Batches are float32 in [0, 1], shape (B, C, H, W). Matrices map output to input coordinates from
-1 to 1, whose ends are the centres of the outermost pixels (``align_corners=True``).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own customary name

from ml.augment import MEAN, STD
from ml.device import on_device
from ml.images import Rgb
from ml.sampling import Matrix
from ml.theory.batch_crop import CropBox
from ml.theory.presize_geometry import ResizeBox

Padding = Literal["reflection", "border", "zeros"]

_NUMPYS_PADDING: Mapping[Padding, Literal["reflect", "edge", "constant"]] = MappingProxyType(
    {"reflection": "reflect", "border": "edge", "zeros": "constant"}
)
LEVELS = 255
_LEAST_LEVEL = 1e-7


def resized(photo: Rgb, box: ResizeBox, *, padding: Padding | None = None) -> Rgb:
    """The window of the photo at the size the box names: bilinear, antialiased when it shrinks.

    Args:
        photo: Levels of shape (H, W, 3).
        box: The window and the size.
        padding: What lies beyond the photo's borders; None where the window lies inside.

    Raises:
        ValueError: The window reaches beyond the photo, and no padding is given.
    """
    (left, top), (width, height) = box.top_left_xy, box.crop_size_wh
    bottom, right = top + height - photo.shape[0], left + width - photo.shape[1]
    beyond = [(max(0, -top), max(0, bottom)), (max(0, -left), max(0, right)), (0, 0)]
    if np.any(beyond):
        if padding is None:
            size = f"{photo.shape[1]} x {photo.shape[0]} px"
            raise ValueError(f"{box} reaches beyond a photo of {size}")
        photo = np.pad(photo, beyond, mode=_NUMPYS_PADDING[padding])
    top, left = max(0, top), max(0, left)
    window = Image.fromarray(photo[top : top + height, left : left + width])
    return np.asarray(window.resize(box.resize_to_wh, Image.Resampling.BILINEAR))


def as_floats(photos_BHW3: Tensor) -> Tensor:
    """Levels 0 to 255 as shares of 255, channels first."""
    return photos_BHW3.permute(0, 3, 1, 2).float().div(LEVELS)


def sampled(
    images_BCHW: Tensor,
    affines: Sequence[Matrix],
    warps: Sequence[Matrix],
    *,
    size_hw: tuple[int, int],
    padding: Padding = "reflection",
    align_corners: bool = True,
) -> Tensor:
    """Each image under its affine map, then its perspective, read in one bilinear sampling.

    Shape (B, C, *size_hw). Where that would step over pixels unseen, the batch is averaged down
    first, by one factor for all its images.

    Args:
        images_BCHW: Equally large.
        affines: A 3 x 3 matrix for each image, its last row (0, 0, 1).
        warps: A homography for each image.
        size_hw: Height and width of the output.
        padding: What lies beyond the borders.
        align_corners: Whether -1 and 1 are the outermost pixels' centres, else their outer edges.
    """
    shape = [*images_BCHW.shape[:2], *size_hw]
    theta_B23 = _floats([matrix[:2] for matrix in affines], images_BCHW.device)
    straight_BHW2 = F.affine_grid(theta_B23, shape, align_corners=align_corners)
    grid_BHW2 = _warped(straight_BHW2, _floats(warps, images_BCHW.device))
    return F.grid_sample(
        _averaged_down(images_BCHW, grid_BHW2),
        grid_BHW2,
        mode="bilinear",
        padding_mode=padding,
        align_corners=align_corners,
    )


def cropped(images_BCHW: Tensor, box: CropBox, size: int) -> Tensor:
    """The same window of every image, resized to a square of ``size`` pixels."""
    (top, left), (height, width) = box.top_left_yx, box.size_hw
    window_BCHW = images_BCHW[..., top : top + height, left : left + width]
    still = [np.eye(3)] * len(images_BCHW)
    return sampled(window_BCHW, still, still, size_hw=(size, size))


def lit(
    images_BCHW: Tensor,
    brightness_B: Sequence[float],
    contrast_B: Sequence[float],
) -> Tensor:
    """``sigmoid((logit(image) + logit(brightness)) * contrast)``; 0.5 and 1 change nothing."""
    device = images_BCHW.device
    shift_B = torch.logit(on_device(np.asarray(brightness_B, np.float32), device))
    factor_B = on_device(np.asarray(contrast_B, np.float32), device)
    logits_BCHW = torch.logit(images_BCHW.clamp(_LEAST_LEVEL, 1 - _LEAST_LEVEL))
    return torch.sigmoid((logits_BCHW + shift_B.view(-1, 1, 1, 1)) * factor_B.view(-1, 1, 1, 1))


def normalised(images_BCHW: Tensor) -> Tensor:
    """The mean of ImageNet taken out of each channel, divided by its deviation."""
    device = images_BCHW.device
    mean_311, std_311 = (
        on_device(np.array(three, np.float32), device).view(3, 1, 1) for three in (MEAN, STD)
    )
    return (images_BCHW - mean_311) / std_311


def _warped(grid_BHW2: Tensor, warps_B33: Tensor) -> Tensor:
    flat_BP2 = grid_BHW2.flatten(1, 2)
    flat_BP3 = torch.cat([flat_BP2, torch.ones_like(flat_BP2[..., :1])], dim=-1)
    mapped_BP3 = flat_BP3 @ warps_B33.transpose(1, 2)
    return (mapped_BP3[..., :2] / mapped_BP3[..., 2:]).view(grid_BHW2.shape)


def _averaged_down(images_BCHW: Tensor, grid_BHW2: Tensor) -> Tensor:
    inputs, outputs = images_BCHW.shape[2:], grid_BHW2.shape[1:3]
    reduction = min(before / after for before, after in zip(inputs, outputs, strict=True)) / 2
    if reduction <= 1:
        return images_BCHW
    # the one number asked of the device; on a GPU this is the stream that batches are made on, so
    # only the thread that makes them waits for it
    enlargement = 2 / (grid_BHW2.max() - grid_BHW2.min()).item()
    if reduction <= enlargement:
        return images_BCHW
    smaller: Tensor = F.interpolate(
        images_BCHW, scale_factor=1 / reduction, mode="area", recompute_scale_factor=True
    )
    return smaller


def _floats(matrices: Sequence[Matrix], device: torch.device) -> Tensor:
    return on_device(np.stack(matrices).astype(np.float32), device)
