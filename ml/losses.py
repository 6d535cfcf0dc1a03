"""Losses that are still on the device, and when to fetch them."""

from dataclasses import dataclass

import torch
from torch import Tensor

CUDA_CHUNK = 10
"""Fetching a loss makes the CPU wait for the GPU, so there they come in bunches."""


@dataclass(frozen=True, slots=True)
class TakenStep:
    """What is known of a step before its loss is."""

    epoch: int
    step: int
    """Within the phase, from 0."""
    global_step: int
    lrs: tuple[float, ...]
    momentum: float


class PendingLosses:
    """Steps whose loss has not been fetched yet."""

    def __init__(self, device: torch.device) -> None:
        self._chunk = CUDA_CHUNK if device.type == "cuda" else 1
        self._waiting: list[tuple[TakenStep, Tensor]] = []

    def add(self, taken: TakenStep, loss: Tensor) -> None:
        """One more step."""
        self._waiting.append((taken, loss))

    def take(self, *, everything: bool = False) -> list[tuple[TakenStep, float]]:
        """The waiting steps with their losses once a chunk is full or all are wanted, else none."""
        if not self._waiting or (len(self._waiting) < self._chunk and not everything):
            return []
        losses = torch.stack([loss for _, loss in self._waiting]).tolist()
        steps = [taken for taken, _ in self._waiting]
        self._waiting.clear()
        return list(zip(steps, losses, strict=True))
