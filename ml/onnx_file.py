"""Models as ONNX files: from pixels in [0, 1] to logits, with all that a user must know inside.

The graph takes out the mean and the deviation itself. Resizing stays outside, described in the
file's metadata: how it is done depends on each photo's size.
Shapes: B = batch, C = channels, H, W = the size of the card.
"""

import dataclasses
import json
import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from ml.backbones import ImageClassifier
from ml.errors import TooLargeForOnnxError
from ml.model_file import ModelCard
from ml.theory.preprocessing import preprocessing

OPSET = 20
INPUT, OUTPUT = "pixels", "logits"
MOST_BYTES = 2**31 - 1
"""A file of Protocol Buffers cannot hold more."""

_INPUT_WORDS = (
    "float32 of shape (batch, 3, {size}, {size}): levels divided by 255, channels R, G, B; "
    "the graph subtracts the mean and divides by the deviation itself, so leave that step out"
)


class FromPixels(nn.Module):
    """Colours in [0, 1] to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: ImageClassifier, card: ModelCard) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(card.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(card.std).view(3, 1, 1))

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Logits of shape (B, classes)."""
        logits_BK: Tensor = self.model((pixels_BCHW - self.mean) / self.std)
        return logits_BK


def write_onnx(path: Path, model: ImageClassifier, card: ModelCard) -> None:
    """The file holds the model, for batches of any length, and its card in its metadata.

    Raises:
        TooLargeForOnnxError: The weights do not fit into one file.
    """
    size_bytes = sum(t.nbytes for t in model.state_dict().values())
    if size_bytes > MOST_BYTES:
        raise TooLargeForOnnxError(size_bytes, MOST_BYTES)
    # the exporter tells each of its steps as if it were a warning
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    example_BCHW = torch.zeros(2, 3, card.size, card.size)
    program = torch.onnx.export(
        FromPixels(model, card).eval(),
        (example_BCHW,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    program.model.metadata_props.update(metadata_of(card))
    program.save(path)


def metadata_of(card: ModelCard) -> dict[str, str]:
    """What the file says of itself, beside the graph: names to JSON, or to words."""
    wanted = preprocessing(
        mode=card.presize_mode,
        presize=card.presize,
        size=card.size,
        mean=card.mean,
        std=card.std,
    )
    return {
        "classes": json.dumps(card.classes, ensure_ascii=False),
        "architecture": card.architecture,
        "input": _INPUT_WORDS.format(size=card.size),
        "output": "logits, one for each of classes; their softmax are the probabilities",
        "preprocessing": json.dumps(dataclasses.asdict(wanted), ensure_ascii=False),
    }
