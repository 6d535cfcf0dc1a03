"""A network's body in another form on a GPU: recorded as a CUDA graph, or compiled.

The weights and statistics stay the body's own, so whoever trains one form trains them all. Shapes:
B = batch, S = side in pixels.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ml.device import DTYPES, Resolved
from ml.row_threads import draws_noise
from ml.theory.step_forms import StepForm

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
        with torch.autocast(
            images_BCSS.device.type,
            DTYPES[self._precision],
            enabled=self._precision != "fp32",
            cache_enabled=False,
        ):
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
    """
    with _statistics_kept(body):
        found = _MADE[form](_Pass(body, precision), images_BCSS)
    if images_BCSS.is_cuda:
        torch.cuda.synchronize(images_BCSS.device)
    return found


def _graphed(once: _Pass, images_BCSS: Tensor) -> nn.Module:
    # not all weights need have a part in the features
    # it changes the module itself
    torch.cuda.make_graphed_callables(once, (images_BCSS,), allow_unused_input=True)
    return once


def _compiled(once: _Pass, images_BCSS: Tensor) -> nn.Module:
    compiled = torch.compile(once, mode="reduce-overhead", dynamic=False)
    weights = [weight for weight in once.parameters() if weight.requires_grad]
    # it compiles each way when that is first taken, and records the second time
    for _ in range(2):
        features: Tensor = compiled(images_BCSS)
        if weights:
            torch.autograd.grad(features.float().sum(), weights, allow_unused=True)
    assert isinstance(compiled, nn.Module)  # noqa: S101  # of a module torch makes one
    return compiled


_MADE: Mapping[StepForm, Callable[[_Pass, Tensor], nn.Module]] = {
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


def _has_a_compiler() -> bool:
    return any(map(shutil.which, _C_COMPILERS))
