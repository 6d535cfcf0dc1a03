"""A body that trains and keeps less of what it makes for the way back.

Autograd keeps what a ReLU has left for the ReLU, and what is then put together from several of
them once more for the layer behind. A ReLU that comes after may work in its place, and both keep
the same: a quarter of all that is kept of squeezenet1_1. The bits of values and gradients do not
change, for a ReLU looks at each value by itself.
"""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from ml.body_graphs import has_relu, layer_of, taken_apart

Body = Callable[[Tensor], Tensor]

_known: WeakKeyDictionary[nn.Module, tuple[bool, fx.GraphModule | None]] = WeakKeyDictionary()


def lean(body: nn.Module) -> Body:
    """What computes the body's features with a graph; it may be the body."""
    mode, found = _known.get(body, (None, None))
    if mode != body.training:
        found = _built(body)
        _known[body] = (body.training, found)
    return found or body


def _built(body: nn.Module) -> fx.GraphModule | None:
    """None where there is nothing to gain."""
    traced = taken_apart(body) if has_relu(body) else None
    joints = _joints_of_relus(traced) if traced else []
    if traced is None or not joints:
        return None
    for joint in joints:
        _let_relu_follow(traced.graph, joint)
    traced.recompile()
    return traced


def _joints_of_relus(traced: fx.GraphModule) -> list[fx.Node]:
    """Where nothing but what ReLUs have left is put together, and nobody else hears of it."""
    return [
        joint
        for joint in traced.graph.find_nodes(op="call_function", target=torch.cat)
        if all(
            isinstance(layer_of(traced, part), nn.ReLU)
            and list(part.users) == [joint]
            # a ReLU that works in place changes what others would hear
            and list(part.all_input_nodes[0].users) == [part]
            for part in joint.all_input_nodes
        )
    ]


def _let_relu_follow(graph: fx.Graph, joint: fx.Node) -> None:
    relus = joint.all_input_nodes
    for relu in relus:
        joint.replace_input_with(relu, relu.all_input_nodes[0])
    with graph.inserting_after(joint):
        after = graph.call_module(str(relus[0].target))
    joint.replace_all_uses_with(after)
    after.args = (joint,)
    for relu in relus:
        graph.erase_node(relu)
