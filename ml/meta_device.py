"""Networks without numbers, to learn names and shapes at no cost."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook


@contextmanager
def weights_without_numbers() -> Iterator[None]:
    """Weights of the networks built inside are on the meta device: shapes, without memory.

    ``torch.device("meta")`` would also take the arithmetic from networks that work out their own
    widths with tensors, such as RegNets.
    """
    # torch's own annotation forgets that a hook may return what takes the weight's place
    hook = register_module_parameter_registration_hook(_on_meta)  # type: ignore[arg-type]
    try:
        yield
    finally:
        hook.remove()


def _on_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> nn.Parameter | None:
    if parameter is None:
        return None
    return nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
