"""Which weights belong together, which of them train, and which decay."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from ml.backbones import ImageClassifier

NORM_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.LayerNorm,
)


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


def freeze_body(model: ImageClassifier, *, train_norm_layers: bool) -> None:
    """Only the head trains, and with ``train_norm_layers`` the norm layers of the body too.

    Running statistics of norm layers go on moving in train mode, frozen or not, as in fastai.
    """
    *body, head = layer_groups(model)
    for member in (member for group in body for member in group):
        member.parameter.requires_grad_(train_norm_layers and member.is_norm)
    for member in head:
        member.parameter.requires_grad_(True)


def unfreeze(model: ImageClassifier) -> None:
    """Every weight trains."""
    model.requires_grad_(True)


def _members(model: nn.Module) -> Iterator[GroupedParameter]:
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            yield GroupedParameter(f"{prefix}.{name}", parameter, isinstance(module, NORM_LAYERS))
