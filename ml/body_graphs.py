"""A network's body as a graph of its layers, which others rearrange; the weights stay its own."""

from torch import fx, nn, overrides

# tracing asks what all of torch's functions are, which takes torch 10 ms to find out once: here,
# for whoever forks processes when this is loaded
overrides.is_tensor_method_or_property(nn.Module.forward)


def taken_apart(body: nn.Module) -> fx.GraphModule | None:
    """The body's way in the mode it is in now; None where it depends on what the body is given."""
    try:
        return fx.symbolic_trace(body)
    except fx.proxy.TraceError:
        return None


def layer_of(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The layer that is called there; None of anything else."""
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None


def has_relu(body: nn.Module) -> bool:
    """Whether there is a layer around which anything could be rearranged."""
    return any(isinstance(layer, nn.ReLU) for layer in body.modules())
