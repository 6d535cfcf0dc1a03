"""What sets one family of torchvision's networks apart: how it is built, cut and named in files.

Shapes: B = batch, C = channels, H, W = image.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from ml.augment import MEAN, STD
from ml.theory.architectures import Architecture

BUILD_OPTIONS: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {
        # Without the choice, torchvision warns that its slow way to draw weights will change.
        "googlenet": {"init_weights": False},
        "inception": {"init_weights": False},
    }
)
"""Arguments of a network without pretrained weights."""

OLD_NAMES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "densenet": ((r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2."),),
        "vision_transformer": (
            (r"\.mlp\.linear_1\.", ".mlp.0."),
            (r"\.mlp\.linear_2\.", ".mlp.3."),
        ),
    }
)
"""Names of weights in torchvision's own, older files, as patterns, and what they became."""


class SignedInput(nn.Module):
    """Colours normalised with ImageNet's mean and deviation become colours from -1 to 1.

    The Inceptions and EfficientNetV2-L were trained on such colours. It holds no weights, so
    state dicts do not change.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor(MEAN), torch.tensor(STD)
        self.register_buffer("scale", (2 * std).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", (2 * mean - 1).view(3, 1, 1), persistent=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """The same images on the other scale."""
        return images_BCHW * self.scale + self.shift


def make_body(model: nn.Module, row: Architecture) -> nn.Module:
    """The network without what the table cuts; its weights keep their names."""
    return _MAKERS.get(row.family, _in_order)(model, row)


def present_name(name: str, family: str) -> str:
    """The name that a weight from a file has today."""
    for pattern, replacement in OLD_NAMES.get(family, ()):
        name = re.sub(pattern, replacement, name)
    return name


def _in_order(model: nn.Module, row: Architecture) -> nn.Sequential:
    children = OrderedDict((name, _callable(model.get_submodule(name))) for name in row.body)
    if row.signed_input:
        children["signed_input"] = SignedInput()
        children.move_to_end("signed_input", last=False)
    return nn.Sequential(children)


def _callable(module: nn.Module) -> nn.Module:
    """A bare list of modules (MaxViT's) as a chain."""
    return nn.Sequential(*module) if isinstance(module, nn.ModuleList) else module


def _with_last_relu(model: nn.Module, row: Architecture) -> nn.Sequential:
    """DenseNet's last ReLU is part of its forward, no child (fastai loses it)."""
    body = _in_order(model, row)
    body.add_module("relu", nn.ReLU(inplace=True))
    return body


def _without_classifier(model: nn.Module, row: Architecture) -> nn.Module:
    """A vision transformer puts its class token in front in its forward, so that has to stay."""
    for name in row.cut:
        setattr(model, name, nn.Identity())
    return model


_MAKERS: Mapping[str, Callable[[nn.Module, Architecture], nn.Module]] = MappingProxyType(
    {"densenet": _with_last_relu, "vision_transformer": _without_classifier}
)
