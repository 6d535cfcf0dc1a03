"""A body whose weights stand still, on a CPU in bf16: convolutions that end with their ReLU.

Autocast turns the weights of a frozen layer into bf16 and oneDNN lays them out anew at every call,
and a ReLU reads and writes once more what a convolution has just written. Here weights are laid
out once, and the convolution writes what the ReLU would have left. The bits are the same: rounding
to bf16 and cutting off at zero can change places. Only what is not a number would be zero, as
oneDNN's ReLU has it; so weights must be finite and too small for any value to overflow.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

Body = Callable[[Tensor], Tensor]

MOST_GROWTH = 34.0
"""Decades by which a body may enlarge an image's values, all layers together; bf16 has 38."""

_ENLARGES_NOTHING = (nn.ReLU, nn.MaxPool2d, nn.AdaptiveAvgPool2d, nn.Identity)


def fused(body: nn.Module) -> Body:
    """What computes the body's features under bf16 autocast without a graph; it may be the body.

    Its weights are those that the body has at this moment. Bodies without a convolution that a
    ReLU follows at once, such as those with batch norms in between, are left as they are.
    """
    if not _is_bf16_here():
        return body
    mode, found = _known.get(body, (None, None))
    if found is None or mode != body.training:
        found = _built(body)
        _known[body] = (body.training, found)
    for layer in found.layers:
        layer.follow()
    is_safe = sum(layer.growth for layer in found.layers) <= MOST_GROWTH
    return found.traced if found.layers and is_safe else body


def _is_bf16_here() -> bool:
    is_reduced = torch.is_autocast_enabled("cpu")
    return (
        is_reduced
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's own gap
        and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


@dataclass(frozen=True, slots=True)
class _Fusion:
    """A body taken apart; without layers there is nothing to gain."""

    traced: fx.GraphModule
    layers: tuple["_Fused", ...] = ()


_known: WeakKeyDictionary[nn.Module, tuple[bool, _Fusion]] = WeakKeyDictionary()
_NOTHING = _Fusion(fx.GraphModule({}, fx.Graph()))


def _built(body: nn.Module) -> _Fusion:
    if not any(isinstance(layer, nn.ReLU) for layer in body.modules()):
        return _NOTHING
    try:
        traced = fx.symbolic_trace(body)
    except fx.proxy.TraceError:
        # the way through it depends on what it is given
        return _NOTHING
    layers = []
    for number, (convolution, relu) in enumerate(_followed_by_relu(traced)):
        layer, name = _Fused(traced.get_submodule(str(convolution.target))), f"fused_{number}"
        traced.add_submodule(name, layer)
        convolution.target = name
        relu.replace_all_uses_with(convolution)
        traced.graph.erase_node(relu)
        layers.append(layer)
    traced.recompile()
    return _Fusion(traced, tuple(layers)) if _is_bounded(traced) else _NOTHING


def _is_bounded(traced: fx.GraphModule) -> bool:
    """Whether nothing but the fused layers can make values larger."""
    return all(
        node.target is torch.cat
        if node.op == "call_function"
        else isinstance(_layer_of(traced, node), (_Fused, *_ENLARGES_NOTHING))
        for node in traced.graph.nodes
        if node.op not in {"placeholder", "output"}
    )


def _followed_by_relu(traced: fx.GraphModule) -> list[tuple[fx.Node, fx.Node]]:
    """Each convolution that only a ReLU hears of, with that ReLU."""
    found = []
    for node in traced.graph.nodes:
        users = list(node.users)
        if (
            len(users) == 1
            and _is_plain_convolution(_layer_of(traced, node))
            and isinstance(_layer_of(traced, users[0]), nn.ReLU)
        ):
            found.append((node, users[0]))
    return found


def _layer_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_plain_convolution(layer: nn.Module | None) -> bool:
    return (
        type(layer) is nn.Conv2d
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.weight.dtype == torch.float32
    )


class _Fused(nn.Module):
    """A convolution and the ReLU behind it."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        assert isinstance(layer, nn.Conv2d)  # noqa: S101  # for the types: so it was found
        self._layers = (layer,)  # not registered: its weights are not ours
        self._how = (layer.padding, layer.stride, layer.dilation, layer.groups)
        self.growth = math.inf
        """Decades by which the largest value may become larger."""
        self._followed: list[Tensor] = []
        self._weight: Tensor | None = None
        self._laying_out = threading.Lock()

    def follow(self) -> None:
        """The weights are those that the layer has now."""
        # compared, for a fused optimiser moves weights without raising their version
        now = [each.detach() for each in self._layers[0].parameters()]
        if self._followed and all(map(torch.equal, now, self._followed)):
            return
        self._followed = [each.clone() for each in now]
        weight, *bias = (each.abs() for each in now)
        most = max(float((weight.sum((1, 2, 3)) + sum(bias)).max()), 1.0)
        self.growth = math.log10(most)
        self._weight = None

    def forward(self, x: Tensor) -> Tensor:
        """As the layer under autocast, and never below zero."""
        weight, *bias = self._followed
        with self._laying_out:
            if self._weight is None:
                # which layout oneDNN likes depends on the size of the maps
                self._weight = torch.ops.mkldnn._reorder_convolution_weight(
                    weight.to(torch.bfloat16), *self._how, list(x.shape)
                )
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x.to(torch.bfloat16),
            self._weight,
            bias[0].to(torch.bfloat16) if bias else None,
            *self._how,
            "relu",
            [],
            "",
        )
        return found
