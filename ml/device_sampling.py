"""Photos drawn as `ml.sampling` draws them, in a few large operations on a device.

Their bytes lie one photo after the other in one tensor, which holds a batch or all photos of a run;
what is drawn is the same to the bit. Shapes: B = batch, S = side of the output, P = its S * S
pixels, N = bytes, T = the 256 levels.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.device import on_device
from ml.images import Rgb
from ml.sampling import Floats, Matrix, shrunk, stride, tap_offset

Integers = NDArray[np.int64]

_ENDS = np.array(list(itertools.product((-1.0, 1.0), repeat=2)))


@dataclass(frozen=True, slots=True)
class LaidOut:
    """Photos on a device, one after the other."""

    flat: Tensor
    """Bytes, uint8, shape (N,)."""
    starts: Integers
    """Where each photo begins, shape (B,)."""
    sizes: Integers
    """Width and height of each photo, in pixels, shape (B, 2)."""


def draw_batch_on_device(
    photos: Sequence[Rgb],
    matrices: Sequence[Matrix],
    tables_B3T: Floats,
    size: int,
    device: torch.device,
) -> Tensor:
    """As `ml.sampling.draw_batch`, sampled on the device, to which the photos are copied.

    Equal to the CPU's result up to one level of rounding.
    """
    ready = [shrunk(photo, m, size) for photo, m in zip(photos, matrices, strict=True)]
    laid_out = lay_out([photo for photo, _ in ready], device)
    return draw_laid_out(laid_out, [matrix for _, matrix in ready], tables_B3T, size)


def draw_laid_out(
    photos: LaidOut, matrices: Sequence[Matrix], tables_B3T: Floats, size: int
) -> Tensor:
    """The sampled photos through their tables: shape (B, S, S, 3), float32, on the device.

    The matrices' strides must be those that are sampled as they are, see `ml.sampling.shrunk`.
    """
    device = photos.flat.device
    taps_B433 = on_device(_taps(matrices, size).astype(np.float32), device)
    starts_B, sizes_B2 = on_device(photos.starts, device), on_device(photos.sizes, device)
    levels_BP3 = torch.zeros((len(matrices), size * size, 3), device=device)
    for tap in range(taps_B433.shape[1]):
        places_BP2 = _places(taps_B433[:, tap], sizes_B2, size)
        levels_BP3 += _bilinear(photos.flat, starts_B, sizes_B2, places_BP2) / 4
    indices_B3P = (levels_BP3 + 0.5).long().transpose(1, 2)
    values_B3P = on_device(tables_B3T, device).gather(2, indices_B3P)
    return values_B3P.transpose(1, 2).reshape(len(matrices), size, size, 3)


def lay_out(photos: Sequence[Rgb], device: torch.device) -> LaidOut:
    """The photos, copied to the device, which nobody waits for."""
    starts_B, sizes_B2 = starts_and_sizes([photo.shape for photo in photos])
    return LaidOut(host_bytes(photos, device).to(device, non_blocking=True), starts_B, sizes_B2)


def starts_and_sizes(shapes: Sequence[tuple[int, ...]]) -> tuple[Integers, Integers]:
    """Of photos with these heights and widths, as in `LaidOut`."""
    sizes_B2 = np.array([(width, height) for height, width, *_ in shapes], np.int64).reshape(-1, 2)
    ends_B = np.cumsum(sizes_B2.prod(axis=1) * 3)
    return np.concatenate([[0], ends_B])[:-1].astype(np.int64), sizes_B2


def host_bytes(photos: Sequence[Rgb], device: torch.device) -> Tensor:
    """The photos one after the other on the host, from where the device copies by itself."""
    count = sum(photo.size for photo in photos)
    bytes_N = torch.empty(count, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.concatenate([photo.reshape(-1) for photo in photos], out=bytes_N.numpy())
    return bytes_N


def _taps(matrices: Sequence[Matrix], size: int) -> Matrix:
    """The four homographies whose samples, averaged, are a picture: (B, 4, 3, 3)."""
    offsets_B = np.array([tap_offset(stride(matrix, size)) for matrix in matrices])
    shifts_B433 = np.broadcast_to(np.eye(3), (len(matrices), 4, 3, 3)).copy()
    shifts_B433[:, :, :2, 2] = offsets_B[:, None, None] * _ENDS
    taps_B433: Matrix = np.stack(matrices)[:, None] @ shifts_B433
    return taps_B433


def _places(matrices_B33: Tensor, sizes_B2: Tensor, size: int) -> Tensor:
    """Input pixel coordinates (x, y) of each of the P outputs, reflected: (B, P, 2)."""
    centres_S = torch.arange(size, device=matrices_B33.device, dtype=torch.float32) + 0.5
    v_SS, u_SS = torch.meshgrid(centres_S, centres_S, indexing="ij")
    outputs_P3 = torch.stack([u_SS, v_SS, torch.ones_like(u_SS)], dim=-1).view(-1, 3)
    inputs_BP3 = outputs_P3 @ matrices_B33.transpose(1, 2)
    length_B12 = sizes_B2.float()[:, None, :]
    once_BP2 = (inputs_BP3[..., :2] / inputs_BP3[..., 2:]).remainder(2 * length_B12)
    inside_BP2 = torch.where(once_BP2 > length_B12, 2 * length_B12 - once_BP2, once_BP2)
    return torch.clamp(inside_BP2 - 0.5, min=0.0).minimum(length_B12 - 1)


def _bilinear(bytes_N: Tensor, starts_B: Tensor, sizes_B2: Tensor, places_BP2: Tensor) -> Tensor:
    """Levels of shape (B, P, 3), from photos laid one after the other."""
    # the three bytes from each place on, without copying any
    pixels_N3 = bytes_N.unfold(0, 3, 1)
    first_BP2 = places_BP2.long()
    share_BP2 = places_BP2 - first_BP2
    second_BP2 = (first_BP2 + 1).minimum(sizes_B2[:, None, :] - 1)
    left_BP, right_BP = (place_BP2[..., 0] * 3 for place_BP2 in (first_BP2, second_BP2))
    width_B1 = sizes_B2[:, :1] * 3
    upper_BP, lower_BP = (
        starts_B[:, None] + place_BP2[..., 1] * width_B1 for place_BP2 in (first_BP2, second_BP2)
    )
    across_BP1, down_BP1 = share_BP2[..., :1], share_BP2[..., 1:]

    def row(start_BP: Tensor) -> Tensor:
        left_BP3, right_BP3 = (pixels_N3[start_BP + at_BP].float() for at_BP in (left_BP, right_BP))
        return torch.lerp(left_BP3, right_BP3, across_BP1)

    return torch.lerp(row(upper_BP), row(lower_BP), down_BP1)
