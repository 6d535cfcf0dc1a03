"""Exported models give the numbers of the models themselves, in a program that knows no torch."""

import json
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # no stubs
import pytest
import torch

from ml.backbones import empty_model
from ml.errors import TooLargeForOnnxError
from ml.model_file import ModelCard
from ml.onnx_file import INPUT, OPSET, OUTPUT, write_onnx

CARD = ModelCard(architecture="squeezenet1_1", classes=("cat", "döner"), size=64, presize=96)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model as a file."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(path, empty_model(CARD.architecture, len(CARD.classes)).eval(), CARD)
    return path


def test_logits_are_those_of_the_model_for_batches_of_any_length(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    model = empty_model(CARD.architecture, len(CARD.classes)).eval()

    for batch in (1, 2, 5):
        pixels = torch.rand(batch, 3, 64, 64, generator=torch.Generator().manual_seed(batch))
        (logits,) = session.run([OUTPUT], {INPUT: pixels.numpy()})

        mean, std = torch.tensor(CARD.mean), torch.tensor(CARD.std)
        normalised = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        with torch.inference_mode():
            expected = model(normalised).numpy()
        assert logits.shape == (batch, 2)
        assert np.abs(logits - expected).max() < 1e-4


def test_the_file_says_how_it_is_used(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])

    said = session.get_modelmeta().custom_metadata_map
    (pixels,) = session.get_inputs()

    assert json.loads(said["classes"]) == ["cat", "döner"]
    assert json.loads(said["preprocessing"])["presize"] == 96
    assert said["input"].startswith("float32 of shape (batch, 3, 64, 64): levels divided by 255")
    assert (pixels.shape, pixels.type) == (["batch", 3, 64, 64], "tensor(float)")
    assert OPSET == 20


def test_what_a_file_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml.onnx_file.MOST_BYTES", 1000)
    model = empty_model(CARD.architecture, len(CARD.classes))

    with pytest.raises(TooLargeForOnnxError, match=r"bytes; an ONNX file holds 1000"):
        write_onnx(tmp_path / "model.onnx", model, CARD)
    assert list(tmp_path.iterdir()) == []
