"""The processes that train one model together, each on a device of its own.

All of them hold the whole model and do the same, each with its own rows of every batch: together
they take the steps that one process would take. What depends on a clock or on the caller is decided
by the first one for all. Messages about such things go over the CPU, gradients over NCCL where
there is one.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

# whoever started the processes ends all of them when one is gone or stuck, so none has to guess
_PATIENCE = timedelta(days=30)
_BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Rows:
    """Which rows of a batch a process has."""

    start: int
    stop: int
    whole: int
    """Rows of the whole batch."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """A process's place among those that train together."""

    number: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.number == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    def rows(self, whole: int) -> Rows:
        """This process's rows of so many; the numbers of two processes differ by one at most."""
        start, stop = (whole * place // self.count for place in (self.number, self.number + 1))
        return Rows(start, stop, whole)

    def agreed(self, value: Value) -> Value:
        """What the first process gave, in every one."""
        if self.is_alone:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def gathered(self, value: Value) -> list[Value]:
        """What each process gave, in every one."""
        if self.is_alone:
            return [value]
        found = [value] * self.count
        dist.all_gather_object(found, value)
        return found

    def summed(self, part: Tensor) -> Tensor:
        """The sum of what each process gave, in place; no gradient flows through it."""
        if not self.is_alone:
            dist.all_reduce(part)
        return part


ALONE = Ranks()


def joined(number: int, count: int, *, meeting: Path, device: torch.device) -> Ranks:
    """The place among the processes that meet at this file, once all of them are there.

    Nothing leaves them again but their end; once one is gone, the others' calls fail.

    Args:
        number: From 0, each once.
        count: Two or more.
        meeting: A file on a local disk that does not exist yet.
        device: Where this process computes, and no other one does if it is a GPU.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        _BACKENDS[device.type],
        init_method=f"file://{meeting}",
        rank=number,
        world_size=count,
        timeout=_PATIENCE,
    )
    return Ranks(number, count)
