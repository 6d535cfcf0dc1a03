"""A network's body on a CPU by several threads, each with rows of the batch for itself.

Threads that share every operation wait for each other at its end, hundreds of times a batch, and
all of them wait while one has lost its core to another process or to the thread that draws the
next batch. With rows of their own they meet once. Shapes: B = batch, R = the rows of one part.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, reduce
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from ml.fused_convolutions import fused
from ml.lean_graphs import lean

LEAST_ROWS = 4
"""Of a part: with fewer, what an operation costs whatever it is given is most of its time."""
ROWS_AT_ONCE = 8
"""Where no graph is kept: what they become on their way stays in a core's cache."""
MOST_GRADIENTS_BYTES = 256 * 2**20
"""Each part but one has gradients of its own for a while; no more than this for all of them."""

SEES_WHOLE_BATCH = (nn.BatchNorm1d, nn.BatchNorm2d)
"""Layers for which a row depends, in training, on the other rows."""

_NOTHING = nn.Identity()

Part = TypeVar("Part")
Found = TypeVar("Found")


def through_body(
    body: nn.Module, images_BCHW: Tensor, then: Callable[[Tensor], Tensor] = _NOTHING
) -> Tensor:
    """What the body makes of the batch, by as many threads as torch may use.

    ``then`` is what is done with its features, to each row by itself and without weights, while
    they are in the core's cache.

    The sums over rows that gradients are have a fixed order for a number of threads, so results
    repeat to the bit. Bodies in which rows meet, as in the batch norms of a training, and images
    on a GPU or in a graph that is being exported take the ordinary way.
    """
    weights = [each for each in body.parameters() if each.requires_grad and torch.is_grad_enabled()]
    count = _threads_for(body, images_BCHW, weights)
    if count > 1 and weights:
        features: Tensor = _ByRows.apply(body, then, images_BCHW, count, *weights)
        return features
    way = body if weights or not _is_plain(images_BCHW) else fused(body)
    if count == 1:
        return then(way(images_BCHW))
    # who loses its core for a while takes fewer parts
    parts = images_BCHW.tensor_split(max(count, len(images_BCHW) // ROWS_AT_ONCE))
    return torch.cat(_in_threads(lambda part: then(way(part)), parts, count))


def draws_noise(layer: nn.Module) -> bool:
    """Whether this layer draws random numbers in training."""
    return isinstance(layer, nn.Dropout | StochasticDepth) and layer.p > 0


def _is_plain(images_BCHW: Tensor) -> bool:
    on_cpu = images_BCHW.device.type == "cpu"
    return on_cpu and not images_BCHW.requires_grad and not torch.compiler.is_compiling()


def _threads_for(body: nn.Module, images_BCHW: Tensor, weights: Sequence[Tensor]) -> int:
    if not _is_plain(images_BCHW):
        return 1
    rows_meet = any(
        layer.training and (isinstance(layer, SEES_WHOLE_BATCH) or draws_noise(layer))
        for layer in body.modules()
    )
    if rows_meet:
        return 1
    most = min(torch.get_num_threads(), len(images_BCHW) // LEAST_ROWS)
    gradients_bytes = sum(each.nbytes for each in weights)
    if gradients_bytes:
        most = min(most, 1 + MOST_GRADIENTS_BYTES // gradients_bytes)
    return max(1, most)


class _ByRows(torch.autograd.Function):
    """The body as one operation, whose graphs are kept apart until the way back."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's own context
        body: nn.Module,
        then: Callable[[Tensor], Tensor],
        images_BCHW: Tensor,
        count: int,
        *weights: Tensor,
    ) -> Tensor:
        keeping_less = lean(body)

        def with_graph(images_RCHW: Tensor) -> Tensor:
            with torch.enable_grad():
                return then(keeping_less(images_RCHW))

        ctx.weights = weights
        ctx.features = _in_threads(with_graph, images_BCHW.tensor_split(count), count)
        return torch.cat([each.detach() for each in ctx.features])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        def gradients(part: tuple[Tensor, Tensor]) -> Sequence[Tensor | None]:
            features, its_grad = part
            found: Sequence[Tensor | None] = torch.autograd.grad(
                features, ctx.weights, its_grad, allow_unused=True
            )
            return found

        parts = list(zip(ctx.features, grad.tensor_split(len(ctx.features)), strict=True))
        ctx.features = None
        of_parts = _in_threads(gradients, parts, len(parts))
        return (None, None, None, None, *(_sum(same) for same in zip(*of_parts, strict=True)))


def _sum(gradients: Sequence[Tensor | None]) -> Tensor | None:
    """One after the other, so that the bits do not depend on who was ready first."""
    # a weight that the body does not use has none in any part
    used = [each for each in gradients if each is not None]
    return reduce(torch.add, used) if used else None


def _in_threads(work: Callable[[Part], Found], parts: Sequence[Part], count: int) -> list[Found]:
    """What ``work`` makes of each part, by ``count`` threads, under the caller's modes of torch."""
    before = torch.get_num_threads()
    threads_each = max(1, before // count)
    modes = _modes_here()

    def one(part: Part) -> Found:
        # asked first, for torch gives a new thread the common number when it is first asked
        if torch.get_num_threads() != threads_each:
            torch.set_num_threads(threads_each)
        with modes():
            return work(part)

    # MKL has one number for the whole process
    torch.set_num_threads(threads_each)
    try:
        running = [_pool(count).submit(one, part) for part in parts]
        # nobody goes on, even after an error, while another still computes and holds memory
        wait(running)
        return [each.result() for each in running]
    finally:
        torch.set_num_threads(before)


def _modes_here() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """What torch holds for each thread apart, taken from this one."""
    inference, graphs = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
    reduced, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    @contextlib.contextmanager
    def modes() -> Iterator[None]:
        with (
            torch.inference_mode(inference),
            torch.set_grad_enabled(graphs),
            torch.autocast("cpu", dtype, enabled=reduced),
        ):
            yield

    return modes


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="rows")
