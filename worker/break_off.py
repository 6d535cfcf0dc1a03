"""Work over many files that ends when the job must, and tells how far it is."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ml.errors import StoppedError
from worker.context import Context
from worker.progress import ProgressWriter

T = TypeVar("T")
R = TypeVar("R")


def for_each(
    context: Context, writer: ProgressWriter, do: Callable[[T], R], things: Sequence[T]
) -> list[R]:
    """What was done to each thing, in their order, by as many threads as the job may use.

    Raises:
        StoppedError: the job must end.
    """
    results: list[R] = []
    with ThreadPoolExecutor(context.settings.compute_threads) as pool:
        try:
            for result in pool.map(do, things):
                go_on(context)
                results.append(result)
                writer.count(len(results), len(things))
        except StoppedError:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def go_on(context: Context) -> None:
    """The import goes on; asking is its sign of life.

    Raises:
        StoppedError: the job must end.
    """
    if context.control.must_end:
        raise StoppedError("importing", context.control.order.value)
