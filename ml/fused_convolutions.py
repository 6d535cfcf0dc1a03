"""A body whose weights stand still, on a CPU in bf16, with fewer passes over its maps.

Autocast turns the weights of a frozen layer into bf16 and oneDNN lays them out anew at every call,
and a ReLU reads and writes once more what a convolution has just written. Here weights are laid
out once, and

- a convolution writes what the ReLU behind it would have left;
- two such convolutions that see the same map and are joined, as in a Fire module, are one, whose
  small kernels lie in the middle of large ones, where the CPU multiplies matrices;
- the largest of values that are not negative is sought among their bits, as integers.

The bits are the same: rounding to bf16 and cutting off at zero can change places, and a weight of
zero adds nothing. Only what is not a number would be zero, as oneDNN's ReLU has it; so weights must
be finite and too small for any value to overflow.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeGuard
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812  # torch's own customary name

from ml.body_graphs import has_relu, layer_of, taken_apart

Body = Callable[[Tensor], Tensor]

MOST_GROWTH = 34.0
"""Decades by which a body may enlarge an image's values, all layers together; bf16 has 38."""

_CHANNELS_APART = 16
"""Of so many channels oneDNN adds up each place of a kernel by itself; the order is then the same,
however large the kernel is."""

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


def has_matrix_units() -> bool:
    """Whether a kernel that is mostly zero costs less than a pass over the maps more (AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


@dataclass(frozen=True, slots=True)
class _Fusion:
    """A body taken apart; without layers there is nothing to gain."""

    traced: fx.GraphModule
    layers: tuple["_Fused", ...] = ()


_known: WeakKeyDictionary[nn.Module, tuple[bool, _Fusion]] = WeakKeyDictionary()
_NOTHING = _Fusion(fx.GraphModule({}, fx.Graph()))


def _built(body: nn.Module) -> _Fusion:
    traced = taken_apart(body) if has_relu(body) else None
    if traced is None:
        return _NOTHING
    fusions = {node: _Fused((layer,)) for node, layer in _ended_by_relu(traced)}
    if has_matrix_units():
        _join(traced, fusions)
    for number, (node, layer) in enumerate(fusions.items()):
        _put(traced, node, f"fused_{number}", layer)
    for number, (node, pool) in enumerate(_pools(traced)):
        _put(traced, node, f"largest_{number}", _Largest(pool))
    traced.recompile()
    return _Fusion(traced, tuple(fusions.values())) if _is_bounded(traced) else _NOTHING


def _put(traced: fx.GraphModule, node: fx.Node, name: str, layer: nn.Module) -> None:
    traced.add_submodule(name, layer)
    node.target = name


def _is_bounded(traced: fx.GraphModule) -> bool:
    """Whether nothing but the fused layers can make values larger."""
    return all(
        node.target is torch.cat
        if node.op == "call_function"
        else isinstance(layer_of(traced, node), (_Fused, _Largest, *_ENLARGES_NOTHING))
        for node in traced.graph.nodes
        if node.op not in {"placeholder", "output"}
    )


def _ended_by_relu(traced: fx.GraphModule) -> list[tuple[fx.Node, nn.Conv2d]]:
    """The convolutions that only a ReLU hears of, without that ReLU from now on."""
    found = []
    for node in list(traced.graph.nodes):
        layer, users = layer_of(traced, node), list(node.users)
        if (
            _is_plain_convolution(layer)
            and len(users) == 1
            and isinstance(layer_of(traced, users[0]), nn.ReLU)
        ):
            users[0].replace_all_uses_with(node)
            traced.graph.erase_node(users[0])
            found.append((node, layer))
    return found


def _join(traced: fx.GraphModule, fusions: dict[fx.Node, "_Fused"]) -> None:
    """Convolutions of one map whose maps are put together are one convolution from now on."""
    for node in traced.graph.find_nodes(op="call_function", target=torch.cat):
        parts, *along = node.args
        layers = [each for part in parts if part in fusions for each in fusions[part].layers]
        if (
            along == [1]
            and len(layers) == len(parts)
            and len({part.args for part in parts}) == 1
            and all(len(part.users) == 1 for part in parts)
            and _can_be_one(layers)
        ):
            first, *others = parts
            node.replace_all_uses_with(first)
            traced.graph.erase_node(node)
            for other in others:
                traced.graph.erase_node(other)
                del fusions[other]
            fusions[first] = _Fused(tuple(layers))


def _can_be_one(layers: Sequence[nn.Conv2d]) -> bool:
    """Whether square kernels read around the same places, and all have a bias or none."""
    ways = {
        (each.kernel_size[0] - 2 * int(each.padding[0]), each.stride, each.bias is None)
        for each in layers
    }
    plain = all(
        each.kernel_size[0] == each.kernel_size[1]
        and each.padding[0] == each.padding[1]
        and (each.dilation, each.groups) == ((1, 1), 1)
        and each.in_channels % _CHANNELS_APART == 0
        for each in layers
    )
    return plain and len(ways) == 1


def _pools(traced: fx.GraphModule) -> list[tuple[fx.Node, nn.MaxPool2d]]:
    """Where the largest of a fused layer's values are taken."""
    return [
        (node, layer)
        for node in traced.graph.nodes
        if isinstance(layer := layer_of(traced, node), nn.MaxPool2d)
        and (layer.padding, layer.dilation, layer.return_indices) == (0, 1, False)
        and isinstance(layer_of(traced, node.all_input_nodes[0]), _Fused)
    ]


def _is_plain_convolution(layer: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    return (
        type(layer) is nn.Conv2d
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and layer.weight.dtype == torch.float32
    )


class _Fused(nn.Module):
    """Convolutions of the same map, one behind the other in their channels, and their ReLU."""

    def __init__(self, layers: tuple[nn.Conv2d, ...]) -> None:
        super().__init__()
        self.layers = layers
        """Not registered: their weights are not ours."""
        widest = max(layers, key=lambda each: each.kernel_size)
        self._side = widest.kernel_size[-1]
        self._how = (widest.padding, widest.stride, widest.dilation, widest.groups)
        self.growth = math.inf
        """Decades by which the largest value may become larger."""
        self._followed: list[Tensor] = []
        self._laid_out: tuple[Tensor, Tensor | None] | None = None
        self._laying_out = threading.Lock()

    def follow(self) -> None:
        """The weights are those that the layers have now."""
        # compared, for a fused optimiser moves weights without raising their version
        now = [each.detach() for layer in self.layers for each in layer.parameters()]
        if self._followed and all(map(torch.equal, now, self._followed)):
            return
        self._followed = [each.clone() for each in now]
        most = max(_most_from_ones(each) for each in self.layers)
        self.growth = math.log10(max(most, 1.0))
        self._laid_out = None

    def forward(self, x: Tensor) -> Tensor:
        """As the layers under autocast, and never below zero."""
        reduced = x.to(torch.bfloat16)
        if self._laid_out is None:
            with self._laying_out:
                self._laid_out = self._laid_out or self._lay_out(reduced)
        weight, bias = self._laid_out
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            reduced, weight, bias, *self._how, "relu", [], ""
        )
        return found

    def _lay_out(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        weights = [_in_the_middle(each.weight.detach(), self._side) for each in self.layers]
        # which layout oneDNN likes depends on the size of the maps
        weight = torch.ops.mkldnn._reorder_convolution_weight(
            torch.cat(weights).to(torch.bfloat16), *self._how, list(x.shape)
        )
        biases = [each.bias.detach() for each in self.layers if each.bias is not None]
        return weight, torch.cat(biases).to(torch.bfloat16) if biases else None


def _most_from_ones(layer: nn.Conv2d) -> float:
    """The largest value that can come of values up to one."""
    weight, *bias = (each.detach().abs() for each in layer.parameters())
    return float((weight.sum((1, 2, 3)) + sum(bias)).max())


def _in_the_middle(weight: Tensor, side: int) -> Tensor:
    margin = (side - weight.shape[-1]) // 2
    return F.pad(weight, (margin,) * 4) if margin else weight


class _Largest(nn.Module):
    """The largest of the values in each window, none of which is below zero."""

    def __init__(self, layer: nn.MaxPool2d) -> None:
        super().__init__()
        self._layer = layer
        self._kernel, self._stride = _pair(layer.kernel_size), _pair(layer.stride)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer; the bits of such values are ordered as the values are."""
        if self._layer.ceil_mode and not self._is_covered(x.shape[2:]):
            pooled: Tensor = self._layer(x)
            return pooled
        largest = x.view(torch.int16)
        for axis, kernel, stride in zip((2, 3), self._kernel, self._stride, strict=True):
            largest = reduce(torch.maximum, _shifted(largest, axis, kernel, stride))
        return largest.view(torch.bfloat16)

    def _is_covered(self, size_hw: Sequence[int]) -> bool:
        """Whether the last windows end with the map."""
        sides = zip(size_hw, self._kernel, self._stride, strict=True)
        return all((side - kernel) % stride == 0 for side, kernel, stride in sides)


def _shifted(maps: Tensor, axis: int, kernel: int, stride: int) -> list[Tensor]:
    """The first value of each window along the axis, then the second, to the last."""
    most = maps.shape[axis] - kernel + 1
    before = (slice(None),) * axis
    return [maps[(*before, slice(at, at + most, stride))] for at in range(kernel)]


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
