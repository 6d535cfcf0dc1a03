"""Batches made ahead of the model, on a GPU by a stream of their own."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import torch

from ml.loader import prefetched

Key = TypeVar("Key")


class Handed(Protocol):
    """What one stream has made and another one uses."""

    def record_stream(self, s: torch.Stream) -> None:
        """Its memory is not used again before the stream has done what it has to do by now."""


Made = TypeVar("Made", bound=Handed)


@contextlib.contextmanager
def fed(
    keys: Iterable[Key], make: Callable[[Key], Made], device: torch.device
) -> Iterator[Iterator[Made]]:
    """As `prefetched`; on a GPU copies and sampling run beside the model, and nobody waits.

    What is handed out may be used by the current stream as if that had made it.
    """
    if device.type != "cuda":
        with prefetched(keys, make) as ready:
            yield ready
        return
    side = _side_stream(device)
    # what batches are made of has been put on the device by the current stream
    side.wait_stream(torch.cuda.current_stream(device))

    def make_aside(key: Key) -> tuple[Made, torch.cuda.Event]:
        with torch.cuda.stream(side):
            return make(key), side.record_event()

    with prefetched(keys, make_aside) as made_aside:
        yield _handed_over(made_aside, device)


def _handed_over(
    ready: Iterator[tuple[Made, torch.cuda.Event]], device: torch.device
) -> Iterator[Made]:
    for value, made in ready:
        used_by = torch.cuda.current_stream(device)
        used_by.wait_event(made)
        value.record_stream(used_by)
        yield value


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    # one for the process: memory that one stream has given back is of no use to another
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's own gap
