"""Which weights belong together, which of them train, and which decay."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ml.backbones import ImageClassifier
from ml.theory.architectures import Architecture

NORM_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
)

_LIST = nn.ModuleList
_CHAINS = (nn.Sequential, nn.ModuleList)


@dataclass(frozen=True, slots=True)
class GroupedParameter:
    """One weight tensor of a layer group."""

    name: str
    """As in the model's state dict."""
    parameter: nn.Parameter
    is_norm: bool
    """It belongs to a normalisation layer."""

    @property
    def decays(self) -> bool:
        """Whether weight decay applies: to all but biases and normalisation layers."""
        return not self.is_norm and not self.name.endswith("bias")


def layer_groups(model: ImageClassifier) -> tuple[tuple[GroupedParameter, ...], ...]:
    """All weights of the model, lowest layer group first, the head last."""
    members = list(_members(model))
    prefixes = [tuple(f"body.{name}." for name in group) for group in model.architecture.groups]
    # The dot at the end lets a prefix name a single weight as well as a module.
    return tuple(
        tuple(member for member in members if f"{member.name}.".startswith(group))
        for group in (*prefixes, ("head.",))
    )


def blocks(model: ImageClassifier) -> tuple[tuple[GroupedParameter, ...], ...]:
    """All weights of the model, lowest block first, the head last; see `block_paths`."""
    members = list(_members(model))
    paths = block_paths(model.body, model.architecture)
    prefixes = [tuple(f"body.{name}." for name in block) for block in paths]
    return tuple(
        tuple(member for member in members if f"{member.name}.".startswith(block))
        for block in (*prefixes, ("head.",))
    )


def block_paths(body: nn.Module, architecture: Architecture) -> list[list[str]]:
    """The blocks of a body, lowest first, each as its modules and single weights.

    A block is a module that is no mere chain of others. Norm layers and single weights belong to
    the block below them, those at the very start to the first one.
    """
    found: list[list[str]] = []
    holds_module = False
    grouped = [path for group in architecture.groups for path in group]
    for path in [inner for outer in grouped for inner in _links(body, outer)]:
        module = _module_at(body, path)
        joins = module is None or isinstance(module, NORM_LAYERS)
        if not found or (holds_module and not joins):
            found.append([])
            holds_module = False
        found[-1].append(path)
        holds_module = holds_module or not joins
    return found


def freeze_body(model: ImageClassifier, *, train_norm_layers: bool) -> None:
    """Only the head trains, and with ``train_norm_layers`` the norm layers of the body too.

    Running statistics of norm layers go on moving in train mode, frozen or not, as in fastai.
    """
    *body, head = layer_groups(model)
    for member in (member for group in body for member in group):
        member.parameter.requires_grad_(train_norm_layers and member.is_norm)
    for member in head:
        member.parameter.requires_grad_(True)


def train_one_group(model: ImageClassifier, group: int) -> None:
    """Only this layer group trains, counted from 0; the norm layers of the others stand still."""
    for number, members in enumerate(layer_groups(model)):
        for member in members:
            member.parameter.requires_grad_(number == group)


def unfreeze(model: ImageClassifier) -> None:
    """Every weight trains."""
    model.requires_grad_(True)


def _links(body: nn.Module, path: str) -> Iterator[str]:
    """The path itself, or those with weights inside when it leads to a chain of modules."""
    module = _module_at(body, path)
    names = [] if module is None else [name for name, _ in module.named_children()]
    bare_list = len(names) == 1 and isinstance(_module_at(body, f"{path}.{names[0]}"), _LIST)
    if not (bare_list or isinstance(module, _CHAINS)):
        yield path
        return
    for name in names:
        inner = f"{path}.{name}"
        if next(body.get_submodule(inner).parameters(), None) is not None:
            yield from _links(body, inner)


def _module_at(body: nn.Module, path: str) -> nn.Module | None:
    """The module, or None where the path leads to a single weight."""
    parent, _, name = path.rpartition(".")
    return dict(body.get_submodule(parent).named_children()).get(name)


def _members(model: nn.Module) -> Iterator[GroupedParameter]:
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield GroupedParameter(f"{prefix}.{name}", parameter, isinstance(module, NORM_LAYERS))
