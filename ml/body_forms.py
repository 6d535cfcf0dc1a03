"""A network's body in another form on a GPU: recorded as a CUDA graph, or compiled.

The weights and statistics stay the body's own, so whoever trains one form trains them all. Shapes:
B = batch, S = side in pixels.
"""

import gc
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ml.device import Resolved, autocast
from ml.row_threads import draws_noise
from ml.theory.step_forms import StepForm

MOST_APART = 0.75
"""Of what the body makes of some images, that another form may make of them."""
_C_COMPILERS = ("gcc", "clang")
"""Torch's compiler needs one of them, for what starts its kernels."""


class _Pass(nn.Module):
    """A pass through the body that keeps no copies of weights in the reduced precision.

    A graph would read the copies of the pass that it was recorded from.
    """

    def __init__(self, body: nn.Module, precision: Resolved) -> None:
        super().__init__()
        self.body = body
        self._precision = precision

    def forward(self, images_BCSS: Tensor) -> Tensor:
        with autocast(self._precision, images_BCSS.device, keeps_weights=False):
            features: Tensor = self.body(images_BCSS)
        return features


def usable_forms(body: nn.Module, device: torch.device) -> tuple[StepForm, ...]:
    """The forms that the body can be trained in there.

    On a CPU that is the eager one: compiling takes half a minute there, and makes steps slower.
    Bodies that draw random numbers take theirs one by one, as always.
    """
    if device.type != "cuda" or any(draws_noise(layer) for layer in body.modules()):
        return ("eager",)
    return ("eager", "graphed", "compiled") if _has_a_compiler() else ("eager", "graphed")


def prepared(
    body: nn.Module, form: StepForm, images_BCSS: Tensor, precision: Resolved
) -> nn.Module:
    """What makes the body's features in this form, from images of this shape alone.

    Some passes are taken through the body, which leave it as it was. One forward pass must be
    followed by its backward pass before the next, and gradients be dropped (``set_to_none``)
    before the next backward pass, which overwrites them.

    Args:
        body: On the device, in training mode, with those weights to train that will be trained.
        form: Not the eager one.
        images_BCSS: Like those that will be given, with any values, on the device.
        precision: Number format of the pass.

    Raises:
        RuntimeError: It computes something else than the body.
        torch.OutOfMemoryError: It took more of a GPU's memory than it leaves free.
    """
    device = images_BCSS.device
    with _statistics_kept(body), _current(device), _room_left(device):
        found = _MADE[form](body, images_BCSS, precision)
        _compare(found, _Pass(body, precision), _other(images_BCSS), precision)
    return found


def free_unused() -> None:
    """What bodies in other forms have held is free, as far as nobody refers to them any more."""
    torch.compiler.reset()
    # recordings lie in cycles, and must not be destroyed during the next one
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch's own gap
        torch.cuda.empty_cache()


def _graphed(body: nn.Module, images_BCSS: Tensor, precision: Resolved) -> nn.Module:
    once = _Pass(body, precision)
    # the way back was recorded on another stream than it is started from, which torch minds
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)
    # it changes the module itself; not all weights need have a part in the features
    torch.cuda.make_graphed_callables(once, (images_BCSS,), allow_unused_input=True)
    return once


def _compiled(body: nn.Module, images_BCSS: Tensor, precision: Resolved) -> nn.Module:
    compiled = torch.compile(_Pass(body, precision), mode="reduce-overhead", dynamic=False)
    weights = [weight for weight in body.parameters() if weight.requires_grad]
    # it compiles each way when that is first taken, and records the second time
    for _ in range(2):
        # as in a step; under other circumstances it would be compiled once more
        with autocast(precision, images_BCSS.device):
            features: Tensor = compiled(images_BCSS)
        if weights:
            torch.autograd.grad(features.float().sum(), weights, allow_unused=True)
    assert isinstance(compiled, nn.Module)  # noqa: S101  # of a module torch makes one
    return compiled


def _other(images_BCSS: Tensor) -> Tensor:
    """Images of noise, for which the random numbers of a training are left alone."""
    generator = torch.Generator(images_BCSS.device).manual_seed(0)
    noise = torch.randn(images_BCSS.shape, generator=generator, device=images_BCSS.device)
    return noise.to(memory_format=torch.channels_last)


def _compare(found: nn.Module, eager: nn.Module, images_BCSS: Tensor, precision: Resolved) -> None:
    with autocast(precision, images_BCSS.device):
        ours, theirs = (way(images_BCSS).detach().float() for way in (found, eager))
    apart, size = (ours - theirs).norm().item(), theirs.norm().item()
    # rounding is far below this, a recording of nothing or of other images far above
    if not apart <= MOST_APART * size:
        raise RuntimeError(f"its features are {apart:.3g} apart from the body's, of {size:.3g}")


_MADE: Mapping[StepForm, Callable[[nn.Module, Tensor, Resolved], nn.Module]] = {
    "graphed": _graphed,
    "compiled": _compiled,
}


@contextmanager
def _statistics_kept(body: nn.Module) -> Iterator[None]:
    before = [buffer.clone() for buffer in body.buffers()]
    try:
        yield
    finally:
        # in place: a graph goes on writing where they lay when it was recorded
        for buffer, value in zip(body.buffers(), before, strict=True):
            buffer.copy_(value)


@contextmanager
def _current(device: torch.device) -> Iterator[None]:
    """Recordings are of the current device, and one that fails may leave its own stream current."""
    if device.type == "cpu":
        yield
        return
    with torch.cuda.device(device), torch.cuda.stream(torch.cuda.current_stream(device)):
        yield
        torch.cuda.synchronize(device)


@contextmanager
def _room_left(device: torch.device) -> Iterator[None]:
    """An evaluation, which needs less than a step, still fits beside what a recording holds."""
    if device.type == "cpu":
        yield
        return
    torch.cuda.empty_cache()
    before_bytes = torch.cuda.memory_reserved(device)
    yield
    torch.cuda.empty_cache()
    held_bytes = torch.cuda.memory_reserved(device) - before_bytes
    free_bytes, _ = torch.cuda.mem_get_info(device)
    if free_bytes < held_bytes:
        raise torch.OutOfMemoryError(
            f"it holds {held_bytes >> 20} MiB of the GPU's memory, and {free_bytes >> 20} are left"
        )


def _has_a_compiler() -> bool:
    return any(map(shutil.which, _C_COMPILERS))
