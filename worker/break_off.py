"""Work over many files that ends when the job must, and tells how far it is."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ml.errors import StoppedError
from worker.context import Context
from worker.progress import ProgressWriter

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 64
"""Things for each thread that are begun before the first of them must be done."""


def for_each(
    context: Context, writer: ProgressWriter, do: Callable[[T], R], things: Sequence[T]
) -> list[R]:
    """What was done to each thing, in their order, by as many threads as the job may use.

    Raises:
        StoppedError: the job must end.
    """
    results: list[R] = []
    threads = context.settings.compute_threads
    with ThreadPoolExecutor(threads) as pool:
        try:
            for result in _in_order(pool, do, things, most=threads * _AHEAD):
                go_on(context)
                results.append(result)
                writer.count(len(results), len(things))
        except StoppedError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _in_order(
    pool: ThreadPoolExecutor, do: Callable[[T], R], things: Sequence[T], *, most: int
) -> Iterator[R]:
    """As `ThreadPoolExecutor.map`, but no more than ``most`` of the things wait in memory."""
    begun: deque[Future[R]] = deque()
    for thing in things:
        begun.append(pool.submit(do, thing))
        if len(begun) == most:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def go_on(context: Context) -> None:
    """The import goes on; asking is its sign of life.

    Raises:
        StoppedError: the job must end.
    """
    if context.control.must_end:
        raise StoppedError("importing", context.control.order.value)


def end_if_told(context: Context) -> None:
    """As `go_on`, for who waits for others: it is no sign of life.

    Raises:
        StoppedError: the job must end.
    """
    if context.control.is_told_to_end:
        raise StoppedError("importing", context.control.order.value)
