"""Classifiers: a torchvision body without its last layers, and a new head.

The state dict of a classifier has torchvision's own names after ``body.`` (``body.layer1.0...``,
``body.features.0...``) and numbers after ``head.``.
"""

from collections import OrderedDict
from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file
from torch import Tensor, nn

from ml.config import DEFAULT_WEIGHTS, NO_WEIGHTS, ModelConfig, known_architecture
from ml.errors import WeightsUnavailableError
from ml.head import create_head
from ml.theory.architectures import Architecture

NAMES_SHOWN = 5


class ImageClassifier(nn.Module):
    """Images to logits; the body may run in reduced precision, the head always in float32."""

    def __init__(
        self, body: nn.Sequential, head: nn.Sequential, architecture: Architecture
    ) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.architecture = architecture

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes), float32."""
        features_BCHW = self.body(images_BCHW)
        with torch.autocast(images_BCHW.device.type, enabled=False):
            logits_BK: Tensor = self.head(features_BCHW.float())
        return logits_BK


def build_model(config: ModelConfig, *, seed: int) -> ImageClassifier:
    """The classifier with its weights in place, on the CPU, channels last.

    The random number generator of torch is left as it was.

    Raises:
        UnknownArchitectureError: No such architecture.
        WeightsUnavailableError: The weights cannot be had or do not fit.
    """
    row = known_architecture(config.architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body = _body(config, row)
        # Seeded again, so that a head does not depend on where its body came from.
        torch.manual_seed(seed)
        head = create_head(row.features, config.num_classes)
    return ImageClassifier(body, head, row).to(memory_format=torch.channels_last)


def empty_model(architecture: str, num_classes: int) -> ImageClassifier:
    """A classifier whose weights the caller is about to load."""
    return build_model(
        ModelConfig(architecture=architecture, weights=NO_WEIGHTS, num_classes=num_classes), seed=0
    )


def _body(config: ModelConfig, row: Architecture) -> nn.Sequential:
    if isinstance(config.weights, Path):
        body = _cut(torchvision.models.get_model(row.name, weights=None), row)
        _load(body, _read_state(config.weights), row, config.weights)
        return body
    if config.weights == NO_WEIGHTS:
        return _cut(torchvision.models.get_model(row.name, weights=None), row)
    name = row.default_weights if config.weights == DEFAULT_WEIGHTS else config.weights
    return _cut(_pretrained(row, name), row)


def _cut(model: nn.Module, row: Architecture) -> nn.Sequential:
    children = dict(model.named_children())
    return nn.Sequential(OrderedDict((name, children[name]) for name in row.body))


def _pretrained(row: Architecture, name: str) -> nn.Module:
    weights = torchvision.models.get_model_weights(row.name)[name]
    try:
        model: nn.Module = torchvision.models.get_model(row.name, weights=weights, progress=False)
    except MemoryError:
        raise
    except Exception as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsUnavailableError(
            f"{row.name} with {name} needs {row.weights[name]}, which cannot be loaded or "
            f"downloaded ({error}); put the file into {folder}"
        ) from error
    return model


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # Bytes that are no pickle make the unpickler raise nearly anything.
        raise WeightsUnavailableError(f"{path.name} is not a file of weights: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise WeightsUnavailableError(f"{path.name} holds no state dict of named tensors")
    return dict(state)


def _load(body: nn.Module, state: dict[str, Tensor], row: Architecture, path: Path) -> None:
    """The body has the file's weights; what the file holds of the cut layers is ignored."""
    ours = body.state_dict()
    theirs = {name: t for name, t in state.items() if name.split(".")[0] not in row.cut}
    both = ours.keys() & theirs.keys()
    # The counter of batches came with later versions of torch and decides nothing here.
    needed = [name for name in ours if not name.endswith("num_batches_tracked")]
    faults = {
        "missing": [name for name in needed if name not in theirs],
        "unexpected": [name for name in theirs if name not in ours],
        "of another shape": sorted(n for n in both if theirs[n].shape != ours[n].shape),
    }
    found = [f"{_some(names)} {fault}" for fault, names in faults.items() if names]
    if found:
        raise WeightsUnavailableError(f"{path.name} does not fit {row.name}: {'; '.join(found)}")
    body.load_state_dict(theirs, strict=False)


def _some(names: list[str]) -> str:
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
