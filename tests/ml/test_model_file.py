from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ml.backbones import build_model
from ml.config import ModelConfig
from ml.errors import CheckpointCorruptError, WeightsUnavailableError
from ml.model_file import ModelCard, load_model, save_model
from tests.ml.fakes import tiny_model

CARD = ModelCard(architecture="resnet18", classes=("ant", "bee"), size=224, presize=460)


def test_a_model_comes_back_with_its_card(tmp_path: Path) -> None:
    model = build_model(tiny_model("resnet18"), seed=1).eval()
    save_model(tmp_path / "model.safetensors", model, CARD)

    loaded, card = load_model(tmp_path / "model.safetensors")

    images = torch.ones(1, 3, 32, 32)
    assert card == CARD
    assert torch.equal(loaded(images), model(images))
    assert not loaded.training


def test_training_can_begin_with_a_saved_model_its_head_included(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    saved = build_model(tiny_model("resnet18"), seed=1)
    save_model(path, saved, CARD)
    config = replace(tiny_model("resnet18"), weights=path)

    kept = build_model(replace(config, keep_head=True), seed=2).state_dict()
    new = build_model(config, seed=2).state_dict()

    assert all(torch.equal(kept[name], tensor) for name, tensor in saved.state_dict().items())
    assert torch.equal(new["body.conv1.weight"], saved.state_dict()["body.conv1.weight"])
    assert not torch.equal(new["head.4.weight"], saved.state_dict()["head.4.weight"])


def test_a_head_for_other_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(path, build_model(tiny_model("resnet18"), seed=1), CARD)
    config = ModelConfig(architecture="resnet18", weights=path, num_classes=7, keep_head=True)

    with pytest.raises(WeightsUnavailableError, match=r"the head in model\.safetensors does not"):
        build_model(config, seed=1)


def test_a_file_without_a_card_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"w": torch.zeros(1)}, path)

    with pytest.raises(CheckpointCorruptError, match="its metadata has no 'tunesmith'"):
        load_model(path)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_model(path, build_model(tiny_model("resnet18"), seed=1), CARD)
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(CheckpointCorruptError, match=r"cut\.safetensors cannot be used"):
        load_model(path)
