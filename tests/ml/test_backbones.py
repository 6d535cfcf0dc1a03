from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from ml.backbones import build_model
from ml.config import ModelConfig
from ml.errors import WeightsUnavailableError
from tests.ml.fakes import tiny_model


def from_file(path: Path, architecture: str = "squeezenet1_1") -> ModelConfig:
    return ModelConfig(architecture=architecture, weights=path, num_classes=3)


@pytest.mark.parametrize("architecture", ["resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_a_model_gives_one_logit_for_each_class(architecture: str) -> None:
    model = build_model(tiny_model(architecture, num_classes=5), seed=0).eval()

    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)


def test_logits_are_float32_under_autocast() -> None:
    model = build_model(tiny_model(), seed=0).eval()

    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.zeros(2, 3, 32, 32)).dtype == torch.float32


def test_random_weights_follow_from_the_seed_alone() -> None:
    first = build_model(tiny_model(), seed=1).state_dict()
    torch.rand(1)
    again = build_model(tiny_model(), seed=1).state_dict()
    other = build_model(tiny_model(), seed=2).state_dict()

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.4.weight"], other["head.4.weight"])


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_weights_fills_the_body_and_not_the_head(tmp_path: Path, suffix: str) -> None:
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)

    body = build_model(from_file(path), seed=0).body.state_dict()

    assert all(torch.equal(body[name], state[name]) for name in body)
    assert not any("classifier" in name for name in body)


def test_weights_of_another_architecture_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "squeeze.pth"
    torch.save(torchvision.models.squeezenet1_1(weights=None).state_dict(), path)

    with pytest.raises(WeightsUnavailableError, match=r"conv1\.weight.* and \d+ more missing"):
        build_model(from_file(path, "resnet18"), seed=0)


def test_weights_of_another_shape_are_refused_by_name(tmp_path: Path) -> None:
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    state["features.0.weight"] = torch.zeros(64, 1, 3, 3)
    path = tmp_path / "grey.pth"
    torch.save(state, path)

    with pytest.raises(WeightsUnavailableError, match=r"features\.0\.weight of another shape"):
        build_model(from_file(path), seed=0)


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.pth"
    path.write_text("these are no weights")

    with pytest.raises(WeightsUnavailableError, match=r"notes\.pth is not a file of weights"):
        build_model(from_file(path), seed=0)


def test_weights_that_cannot_be_had_are_named_with_their_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"cut short")
    config = ModelConfig(architecture="squeezenet1_1", weights="DEFAULT", num_classes=2)

    with pytest.raises(
        WeightsUnavailableError, match=r"needs squeezenet1_1-b8a52dc0\.pth"
    ) as caught:
        build_model(config, seed=0)
    assert str(tmp_path / "checkpoints") in str(caught.value)
