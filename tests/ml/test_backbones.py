import os
import pickle
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from ml import backbones
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


class _Runs:
    """A pickle of it makes a folder when it is loaded carelessly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_code_in_a_file_of_weights_is_refused_and_does_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(_Runs(made), 2))
    torch.save({"features.0.weight": _Runs(made)}, tmp_path / "torch.pth")

    for name in ("plain.pth", "torch.pth"):
        with pytest.raises(WeightsUnavailableError, match="a pickle can run code"):
            build_model(from_file(tmp_path / name), seed=0)
    assert not made.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_of_weights_is_refused_by_name(
    tmp_path: Path, suffix: str, damage: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    state = {"features.0.weight": torch.zeros(64, 3, 3, 3)}
    (torch.save if suffix == ".pth" else save_file)(state, path)
    whole = path.read_bytes()
    left = {"cut": whole[: len(whole) // 2], "empty": b"", "foreign": b"\xff" * 99}
    path.write_bytes(left[damage])

    with pytest.raises(WeightsUnavailableError, match=rf"weights{suffix} "):
        build_model(from_file(path), seed=0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_pipe_is_no_file_of_weights(tmp_path: Path, suffix: str) -> None:
    os.mkfifo(tmp_path / f"weights{suffix}")

    with pytest.raises(WeightsUnavailableError, match="is no regular file"):
        build_model(from_file(tmp_path / f"weights{suffix}"), seed=0)


def test_tensors_without_names_are_no_weights(tmp_path: Path) -> None:
    torch.save({1: torch.zeros(1)}, tmp_path / "numbered.pth")

    with pytest.raises(WeightsUnavailableError, match="no state dict of named tensors"):
        build_model(from_file(tmp_path / "numbered.pth"), seed=0)


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    state["features.0.bias"][3] = torch.nan
    torch.save(state, tmp_path / "ill.pth")

    with pytest.raises(WeightsUnavailableError, match=r"features\.0\.bias not finite"):
        build_model(from_file(tmp_path / "ill.pth"), seed=0)


def test_a_network_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(architecture="squeezenet1_1", weights="DEFAULT", num_classes=2)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(backbones, "SILENCE_S", 0.1)
    monkeypatch.setattr(urllib.request, "_opener", None)  # it remembers the proxies of before
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")

        with pytest.raises(WeightsUnavailableError, match=r"timed out.*put the file into"):
            build_model(config, seed=0)
    assert socket.getdefaulttimeout() is None
