"""Where the photos of a batch lie, and their drawing from there.

On the CPU they lie in the presized pixels themselves. A GPU has them all in its memory where they
fit, and else is sent those of each batch. Shapes: B = batch, S = side of the output.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.cache import Pixels
from ml.device import on_device
from ml.device_sampling import (
    LaidOut,
    draw_batch_on_device,
    draw_laid_out,
    host_bytes,
    starts_and_sizes,
)
from ml.images import Rgb
from ml.sampling import MAX_STRIDE, Floats, Matrix, stride

UPLOAD_BYTES = 2**26
"""Photos are uploaded together until they have so many bytes."""

Positions = NDArray[np.int64]
DrawBatch = Callable[[Sequence[Rgb], Sequence[Matrix], Floats, int], Floats]
"""`ml.sampling.draw_batch`, or `ml.warping.warp_batch`."""


class ResidentPixels(Pixels):
    """Presized photos that lie in a device's memory as well."""

    def __init__(self, pixels: Pixels, laid_out: LaidOut) -> None:
        self._pixels = pixels
        self.stored = pixels.stored
        self.laid_out = laid_out

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._pixels)

    def photo(self, position: int) -> Rgb:
        """As the host has it."""
        return self._pixels.photo(position)

    def close(self) -> None:
        """The photos are closed; the device's memory is free when nothing is drawn any more."""
        self._pixels.close()

    def at(self, positions: Positions) -> LaidOut:
        """These photos only; no byte is moved."""
        laid_out = self.laid_out
        return LaidOut(laid_out.flat, laid_out.starts[positions], laid_out.sizes[positions])


def upload(pixels: Pixels, device: torch.device, *, most_bytes: int) -> ResidentPixels | None:
    """All the photos in the device's memory; None where they have more bytes than they may."""
    shapes = [pixels.photo(position).shape for position in range(len(pixels))]
    starts_N, sizes_N2 = starts_and_sizes(shapes)
    total = int(sizes_N2.prod(axis=1).sum()) * 3
    if total > most_bytes or total == 0:
        return None
    bytes_N = torch.empty(total, dtype=torch.uint8, device=device)
    bounds = np.searchsorted(starts_N, np.arange(UPLOAD_BYTES, total, UPLOAD_BYTES)).tolist()
    for first, end in zip([0, *bounds], [*bounds, len(pixels)], strict=True):
        if first < end:
            some = host_bytes([pixels.photo(place) for place in range(first, end)], device)
            start = int(starts_N[first])
            bytes_N[start : start + len(some)].copy_(some, non_blocking=True)
    return ResidentPixels(pixels, LaidOut(bytes_N, starts_N, sizes_N2))


class Taken(Protocol):
    """The photos of one batch, wherever they lie."""

    @property
    def sizes_wh(self) -> list[tuple[int, int]]:
        """Width and height of each, in pixels."""

    def drawn(self, matrices: Sequence[Matrix], tables_B3T: Floats, size: int) -> Tensor:
        """As `ml.sampling.draw_batch`: shape (B, S, S, 3), float32, where the model computes."""


def taken(
    pixels: Pixels, positions: Positions, device: torch.device, draw_on_host: DrawBatch
) -> Taken:
    """The photos at these places; those on the host are drawn by the function."""
    if isinstance(pixels, ResidentPixels):
        return ResidentPhotos(pixels, positions)
    photos = [pixels.photo(position) for position in positions.tolist()]
    return OnHost(photos, draw_on_host) if device.type == "cpu" else Copied(photos, device)


@dataclass(frozen=True, slots=True)
class OnHost:
    """Photos that the CPU draws."""

    photos: Sequence[Rgb]
    draw: DrawBatch

    @property
    def sizes_wh(self) -> list[tuple[int, int]]:
        """As `Taken`."""
        return [(photo.shape[1], photo.shape[0]) for photo in self.photos]

    def drawn(self, matrices: Sequence[Matrix], tables_B3T: Floats, size: int) -> Tensor:
        """As `Taken`."""
        return torch.from_numpy(self.draw(self.photos, matrices, tables_B3T, size))


@dataclass(frozen=True, slots=True)
class Copied:
    """Photos that are copied to the device with the batch."""

    photos: Sequence[Rgb]
    device: torch.device

    @property
    def sizes_wh(self) -> list[tuple[int, int]]:
        """As `Taken`."""
        return [(photo.shape[1], photo.shape[0]) for photo in self.photos]

    def drawn(self, matrices: Sequence[Matrix], tables_B3T: Floats, size: int) -> Tensor:
        """As `Taken`."""
        return draw_batch_on_device(self.photos, matrices, tables_B3T, size, self.device)


@dataclass(frozen=True, slots=True)
class ResidentPhotos:
    """Photos that the device has."""

    pixels: ResidentPixels
    positions: Positions

    @property
    def sizes_wh(self) -> list[tuple[int, int]]:
        """As `Taken`."""
        sizes = self.pixels.laid_out.sizes[self.positions].tolist()
        return [(width, height) for width, height in sizes]

    def drawn(self, matrices: Sequence[Matrix], tables_B3T: Floats, size: int) -> Tensor:
        """As `Taken`; those to be averaged down first, which the host does, are copied."""
        large_B = np.array([stride(matrix, size) > MAX_STRIDE for matrix in matrices], bool)
        if not large_B.any():
            return draw_laid_out(self.pixels.at(self.positions), matrices, tables_B3T, size)
        device = self.pixels.laid_out.flat.device
        here, there = np.flatnonzero(~large_B), np.flatnonzero(large_B)
        parts = [
            source.drawn([matrices[place] for place in places.tolist()], tables_B3T[places], size)
            for source, places in (
                (ResidentPhotos(self.pixels, self.positions[here]), here),
                (Copied(self._on_host(there), device), there),
            )
            if len(places)
        ]
        order = np.argsort(np.concatenate([here, there]))
        return torch.cat(parts)[on_device(order, device)]

    def _on_host(self, places: Positions) -> list[Rgb]:
        return [self.pixels.photo(position) for position in self.positions[places].tolist()]
