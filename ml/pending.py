"""Results that are still on the device, and when they are fetched."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

CUDA_CHUNK = 5
"""Results of a GPU that are fetched together; so many more are under way meanwhile."""

Label = TypeVar("Label")


@dataclass(frozen=True, slots=True)
class TakenStep:
    """What is known of a step before its loss is."""

    epoch: int
    step: int
    """Within the phase, from 0."""
    global_step: int
    lrs: tuple[float, ...]
    momentum: float


class Pending(Generic[Label]):
    """Results that have not been fetched yet, in order, each with what it is of.

    Whoever takes one result of a GPU at a time lets it run dry. So results come in chunks, and
    each chunk is waited for only when the next one has been asked of the GPU as a whole: it has
    work while the CPU waits, and the CPU is never more than two chunks ahead. On the CPU a result
    is there at once.
    """

    def __init__(self, device: torch.device, *, chunk: int | None = None) -> None:
        self._device = device
        self._chunk = chunk or (CUDA_CHUNK if device.type == "cuda" else 1)
        self._under_way = 0 if self._chunk == 1 else 1
        self._open: list[tuple[Label, Tensor]] = []
        self._asked: deque[tuple[list[tuple[Label, Tensor]], torch.cuda.Event | None]] = deque()

    def add(self, label: Label, result: Tensor) -> None:
        """One more, which is not awaited."""
        # memory that torch takes for this is pinned, so the copy is the device's own business
        self._open.append((label, result.to("cpu", non_blocking=True)))
        if len(self._open) == self._chunk:
            self._close_chunk()

    def take(self, *, everything: bool = False) -> list[tuple[Label, Tensor]]:
        """What a full chunk has followed, or everything, on the CPU; else nothing."""
        if everything and self._open:
            self._close_chunk()
        taken: list[tuple[Label, Tensor]] = []
        while len(self._asked) > (0 if everything else self._under_way):
            results, copied = self._asked.popleft()
            if copied is not None:
                copied.synchronize()
            taken.extend(results)
        return taken

    def _close_chunk(self) -> None:
        copied = None
        if self._device.type == "cuda":
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch's own gap
            copied.record(torch.cuda.current_stream(self._device))
        self._asked.append((self._open, copied))
        self._open = []
