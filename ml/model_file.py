"""Finished models as safetensors files that say how to use them."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from ml.augment import MEAN, STD
from ml.backbones import ImageClassifier, empty_model
from ml.config import PresizeMode
from ml.errors import CheckpointCorruptError
from ml.files import write_whole
from ml.meta_device import weights_without_numbers

METADATA_KEY = "tunesmith"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """What must be known to use the weights."""

    architecture: str
    classes: tuple[str, ...]
    """Name of each output, in order."""
    size: int
    """Side of the square input, in pixels."""
    presize: int
    """Short side to which photos are reduced first, in pixels."""
    presize_mode: PresizeMode = "single"
    """How they come from there to the input."""
    mean: tuple[float, ...] = MEAN
    """Taken from each channel of values in [0, 1]."""
    std: tuple[float, ...] = STD
    """Each channel is divided by it."""
    format: int = FORMAT


def save_model(path: Path, model: ImageClassifier, card: ModelCard) -> None:
    """The file holds the weights under their state-dict names, and the card in its metadata."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    # one entry only: with more, their order in the file would be a matter of chance
    metadata = {METADATA_KEY: json.dumps(dataclasses.asdict(card))}
    write_whole(path, save(tensors, metadata))


def load_model(path: Path) -> tuple[ImageClassifier, ModelCard]:
    """The model on the CPU in evaluation mode, and its card.

    Raises:
        CheckpointCorruptError: There is no such file, or it is no model of this project.
    """
    try:
        with safe_open(path, "pt") as file:
            card = _card(path, file.metadata())
        # weights that are replaced at once are not drawn: that takes seconds of a VGG
        with weights_without_numbers():
            model = empty_model(card.architecture, len(card.classes))
        # copies lie where torch's own tensors do; elsewhere a CPU may add up in another order
        weights = {name: tensor.clone() for name, tensor in load_file(path).items()}
        model.load_state_dict(weights, assign=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointCorruptError(path, str(error)) from error
    return model.to(memory_format=torch.channels_last).eval(), card


def _card(path: Path, metadata: dict[str, str] | None) -> ModelCard:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise CheckpointCorruptError(path, f"its metadata has no {METADATA_KEY!r}")
    values: dict[str, Any] = json.loads(text)
    if values.get("format") != FORMAT:
        raise CheckpointCorruptError(path, f"format {values.get('format')} is not {FORMAT}")
    for name in ("classes", "mean", "std"):
        values[name] = tuple(values[name])
    return ModelCard(**values)
