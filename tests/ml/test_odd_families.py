import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from ml.augment import MEAN, STD
from ml.backbones import build_model
from ml.config import ModelConfig
from ml.meta_device import weights_without_numbers
from ml.odd_families import BUILD_OPTIONS, SignedInput, make_body, present_name
from ml.theory import architectures


def pooled(map_BCHW: Tensor) -> Tensor:
    return map_BCHW.mean(dim=(2, 3))


ONE_OF_EACH_FAMILY = {architectures.get(name).family: name for name in architectures.names()}
CLASSIFIERS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "densenet121": lambda model, x: model.get_submodule("classifier")(pooled(x)),
    "efficientnet_b0": lambda model, x: model.get_submodule("classifier")(pooled(x)),
    "googlenet": lambda model, x: model.get_submodule("fc")(pooled(x)),
    "inception_v3": lambda model, x: model.get_submodule("fc")(pooled(x)),
    "maxvit_t": lambda model, x: model.get_submodule("classifier")(x),
    "swin_t": lambda model, x: model.get_submodule("head")(pooled(x)),
    "swin_v2_t": lambda model, x: model.get_submodule("head")(pooled(x)),
    "vit_b_32": lambda model, x: model.get_submodule("heads")(x),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.slow
def test_a_body_under_torchvisions_own_classifier_is_torchvisions_network(name: str) -> None:
    row = architectures.get(name)
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, **BUILD_OPTIONS.get(row.family, {})).eval()
    if row.signed_input:
        model.transform_input = True  # as with pretrained weights
    images = torch.randn(2, 3, row.smallest_image_px, row.smallest_image_px)
    with torch.no_grad():
        expected = model(images)
        features = make_body(copy.deepcopy(model), row)(images)

        torch.testing.assert_close(CLASSIFIERS[name](model, features), expected)


def test_black_and_white_become_minus_one_and_one() -> None:
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    black, white = (0 - mean) / std, (1 - mean) / std

    signed = SignedInput()(torch.stack([black, white]))

    torch.testing.assert_close(signed.flatten(), torch.tensor([-1.0] * 3 + [1.0] * 3))


@pytest.mark.parametrize(
    ("family", "old", "today"),
    [
        ("densenet", "a.denselayer1.norm.2.weight", "a.denselayer1.norm2.weight"),
        ("densenet", "a.denselayer1.norm2.weight", "a.denselayer1.norm2.weight"),
        ("vision_transformer", "encoder.b.mlp.linear_2.bias", "encoder.b.mlp.3.bias"),
        ("swin", "features.1.0.mlp.0.bias", "features.1.0.mlp.0.bias"),
    ],
)
def test_names_of_older_files_become_those_of_today(family: str, old: str, today: str) -> None:
    assert present_name(old, family) == today


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY.values())
def test_weights_keep_the_names_they_have_in_torchvision(name: str) -> None:
    row = architectures.get(name)
    with weights_without_numbers():
        model = torchvision.models.get_model(name, **BUILD_OPTIONS.get(row.family, {}))
    expected = [weight for weight in model.state_dict() if weight.split(".")[0] not in row.cut]

    assert list(make_body(model, row).state_dict()) == expected


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.slow
def test_torchvisions_own_loader_fills_the_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    row = architectures.get(name)
    model = torchvision.models.get_model(name, init_weights=False)
    (tmp_path / "checkpoints").mkdir()
    torch.save(model.state_dict(), tmp_path / "checkpoints" / row.weights[row.default_weights])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    config = ModelConfig(architecture=name, weights="DEFAULT", num_classes=2)

    body = build_model(config, seed=0).body.state_dict()

    assert all(torch.equal(body[name], model.state_dict()[name]) for name in body)


def test_a_file_with_auxiliary_classifiers_fills_the_body(tmp_path: Path) -> None:
    model = torchvision.models.googlenet(weights=None, init_weights=False, aux_logits=True)
    torch.save(model.state_dict(), tmp_path / "googlenet.pth")
    config = ModelConfig(
        architecture="googlenet", weights=tmp_path / "googlenet.pth", num_classes=2
    )

    body = build_model(config, seed=0).body.state_dict()

    assert all(torch.equal(body[name], model.state_dict()[name]) for name in body)


def test_a_densenet_file_of_old_fills_the_body(tmp_path: Path) -> None:
    state = torchvision.models.densenet121(weights=None).state_dict()
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for name, tensor in state.items()
    }
    torch.save(old, tmp_path / "densenet.pth")
    config = ModelConfig(
        architecture="densenet121", weights=tmp_path / "densenet.pth", num_classes=2
    )

    body = build_model(config, seed=0).body.state_dict()

    assert all(torch.equal(body[name], state[name]) for name in body)
