"""Classifiers: a torchvision body without its last layers, and a new head.

The state dict of a classifier has torchvision's own names after ``body.`` (``body.layer1.0...``,
``body.features.0...``) and numbers after ``head.``.
"""

import contextlib
import pickle
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ml.config import DEFAULT_WEIGHTS, NO_WEIGHTS, ModelConfig
from ml.errors import WeightsUnavailableError
from ml.head import create_head, pooling_and_rest
from ml.odd_families import BUILD_OPTIONS, make_body, present_name
from ml.row_threads import through_body
from ml.theory import architectures
from ml.theory.architectures import Architecture

_BODY, _HEAD = "body.", "head."
NAMES_SHOWN = 5
FAULT_CHARACTERS = 200
SILENCE_S = 15.0
"""Seconds without a byte after which a download is given up."""


class ImageClassifier(nn.Module):
    """Images to logits; the body may run in reduced precision, the head always in float32."""

    def __init__(self, body: nn.Module, head: nn.Sequential, architecture: Architecture) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.architecture = architecture

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes), float32."""
        pooling, rest = pooling_and_rest(self.head)
        pooled_BF = through_body(self.body, images_BCHW, then=partial(_in_float32, pooling))
        return _in_float32(rest, pooled_BF)


def _in_float32(layers: nn.Sequential, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        found: Tensor = layers(features.float())
    return found


def build_model(config: ModelConfig, *, seed: int) -> ImageClassifier:
    """The classifier with its weights in place, on the CPU, channels last.

    The random number generator of torch is left as it was.

    Raises:
        UnknownArchitectureError: No such architecture.
        WeightsUnavailableError: The weights cannot be had or do not fit.
    """
    row = architectures.get(config.architecture)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed every GPU, too
        torch.default_generator.manual_seed(seed)
        body = _body(config, row)
        # Seeded again, so that a head does not depend on where its body came from.
        torch.default_generator.manual_seed(seed)
        head = create_head(row.features, config.num_classes, pooled=not row.vector_features)
    if config.keep_head:
        _load_head(head, Path(config.weights))
    return ImageClassifier(body, head, row).to(memory_format=torch.channels_last)


def empty_model(architecture: str, num_classes: int) -> ImageClassifier:
    """A classifier whose weights the caller is about to load."""
    return build_model(
        ModelConfig(architecture=architecture, weights=NO_WEIGHTS, num_classes=num_classes), seed=0
    )


def _body(config: ModelConfig, row: Architecture) -> nn.Module:
    if isinstance(config.weights, Path):
        body = _untrained_body(row)
        _load(body, _body_of(_read_state(config.weights)), row, config.weights)
        return body
    if config.weights == NO_WEIGHTS:
        return _untrained_body(row)
    name = row.default_weights if config.weights == DEFAULT_WEIGHTS else config.weights
    return make_body(_pretrained(row, name), row)


def _untrained_body(row: Architecture) -> nn.Module:
    options = BUILD_OPTIONS.get(row.family, {})
    return make_body(torchvision.models.get_model(row.name, weights=None, **options), row)


def _pretrained(row: Architecture, name: str) -> nn.Module:
    weights = torchvision.models.get_model_weights(row.name)[name]
    try:
        with _impatient():
            model: nn.Module = torchvision.models.get_model(
                row.name, weights=weights, progress=False
            )
    except MemoryError:
        raise
    except Exception as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsUnavailableError(
            f"{row.name} with {name} needs {row.weights[name]}, which cannot be loaded or "
            f"downloaded ({error}); put the file into {folder}"
        ) from error
    return model


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Downloads end soon where no network answers: torch.hub itself would wait for ever."""
    before_s = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before_s)


def _read_state(path: Path) -> dict[str, Tensor]:
    if path.exists() and not path.is_file():
        # a pipe would be waited for, and some devices never end
        raise WeightsUnavailableError(f"{path.name} is no regular file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:
        # Bytes that are no pickle make the unpickler raise nearly anything.
        raise WeightsUnavailableError(f"{path.name} {_fault(error)}") from error
    if not isinstance(state, dict) or not all(_is_named_tensor(*pair) for pair in state.items()):
        raise WeightsUnavailableError(f"{path.name} holds no state dict of named tensors")
    return dict(state)


def _body_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the body alone, where the file holds one of our classifiers."""
    if all(name.startswith((_BODY, _HEAD)) for name in state):
        return _below(_BODY, state)
    return state


def _load_head(head: nn.Module, path: Path) -> None:
    try:
        head.load_state_dict(_below(_HEAD, _read_state(path)))
    except RuntimeError as error:
        raise WeightsUnavailableError(f"the head in {path.name} does not fit: {error}") from error


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _fault(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):
        # torch's own words advise to load the file all the same
        return (
            "holds other things than tensors, or is damaged; a pickle can run code, so it is not "
            "loaded: save model.state_dict(), best as .safetensors"
        )
    told = isinstance(error, OSError | RuntimeError | SafetensorError)
    return f"is not a file of weights{f': {error}'[:FAULT_CHARACTERS] if told else ''}"


def _is_named_tensor(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _load(body: nn.Module, state: dict[str, Tensor], row: Architecture, path: Path) -> None:
    """The body has the file's weights; what the file holds of the cut layers is ignored."""
    ours = body.state_dict()
    present = {present_name(name, row.family): tensor for name, tensor in state.items()}
    theirs = {name: t for name, t in present.items() if name.split(".")[0] not in row.cut}
    both = ours.keys() & theirs.keys()
    # The counter of batches came with later versions of torch and decides nothing here.
    needed = [name for name in ours if not name.endswith("num_batches_tracked")]
    faults = {
        "missing": [name for name in needed if name not in theirs],
        "unexpected": [name for name in theirs if name not in ours],
        "of another shape": sorted(n for n in both if theirs[n].shape != ours[n].shape),
        "not finite": sorted(name for name in both if not theirs[name].isfinite().all()),
    }
    found = [f"{_some(names)} {fault}" for fault, names in faults.items() if names]
    if found:
        raise WeightsUnavailableError(f"{path.name} does not fit {row.name}: {'; '.join(found)}")
    body.load_state_dict(theirs, strict=False)


def _some(names: list[str]) -> str:
    rest = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
