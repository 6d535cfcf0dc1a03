"""Which photos meet in which batch, and one thread that prepares batches ahead of the model."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ml.resident import Positions

DEPTH = 3
STOP_POLL_S = 0.1

Key = TypeVar("Key")
Value = TypeVar("Value")


def shuffled_batches(count: int, batch_size: int, *, seed: int, epoch: int) -> list[Positions]:
    """The full batches of one shuffled pass, as positions; a last partial batch is dropped.

    A pure function of its arguments; ``epoch`` counts over the whole run.
    """
    full = count // batch_size
    order = epoch_order(count, seed=seed, epoch=epoch)
    return list(order[: full * batch_size].reshape(full, batch_size))


def epoch_order(count: int, *, seed: int, epoch: int) -> Positions:
    """All positions, in the order of one shuffled pass."""
    # The last word keeps these numbers apart from those that change single photos.
    stream = np.random.Philox(key=np.array([seed, (epoch << 32) | 0xFFFFFFFF], np.uint64))
    return np.random.Generator(stream).permutation(count)


def ordered_batches(count: int, batch_size: int) -> list[Positions]:
    """All positions in order; the last batch may be smaller."""
    positions = np.arange(count)
    return [positions[start : start + batch_size] for start in range(0, count, batch_size)]


@dataclass(frozen=True, slots=True)
class _Failed:
    error: BaseException


@dataclass(frozen=True, slots=True)
class _Ended:
    pass


@contextlib.contextmanager
def prefetched(
    keys: Iterable[Key], make: Callable[[Key], Value], *, depth: int = DEPTH
) -> Iterator[Iterator[Value]]:
    """``make(key)`` for each key in order, computed in one thread up to ``depth`` ahead.

    An error in ``make`` is raised where its value would have come. Leaving the block ends the
    thread, however many values were taken.
    """
    ready: queue.Queue[Value | _Failed | _Ended] = queue.Queue(depth)
    stop = threading.Event()
    producer = threading.Thread(
        target=_produce, args=(keys, make, ready, stop), name="batches", daemon=True
    )
    producer.start()
    try:
        yield _consume(ready)
    finally:
        stop.set()
        producer.join()


def _consume(ready: "queue.Queue[Value | _Failed | _Ended]") -> Iterator[Value]:
    while True:
        item = ready.get()
        if isinstance(item, _Ended):
            return
        if isinstance(item, _Failed):
            raise item.error
        yield item


def _produce(
    keys: Iterable[Key],
    make: Callable[[Key], Value],
    ready: "queue.Queue[Value | _Failed | _Ended]",
    stop: threading.Event,
) -> None:
    try:
        for key in keys:
            if not _put(ready, make(key), stop):
                return
        _put(ready, _Ended(), stop)
    except BaseException as error:  # noqa: BLE001  # raised again by the consumer
        _put(ready, _Failed(error), stop)


def _put(
    ready: "queue.Queue[Value | _Failed | _Ended]",
    item: "Value | _Failed | _Ended",
    stop: threading.Event,
) -> bool:
    """True when the item is in the queue; False when the consumer has left."""
    # A put without a timeout would wait for ever once nobody takes from a full queue.
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=STOP_POLL_S)
            return True
    return False
