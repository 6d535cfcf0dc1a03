from typing import Any

import pytest

from ml.backbones import build_model
from ml.layer_groups import GroupedParameter, freeze_body, layer_groups, unfreeze
from ml.theory import architectures
from tests.ml.fakes import golden_cases, tiny_model


def full_cases() -> list[dict[str, Any]]:
    return golden_cases("discriminative", "groups_full")


def summary_cases() -> list[dict[str, Any]]:
    cases = golden_cases("discriminative", "groups_summary")
    return [case for case in cases if case["arch"] in architectures.names()]


def frozen_groups(case: dict[str, Any]) -> tuple[tuple[GroupedParameter, ...], ...]:
    model = build_model(tiny_model(case["arch"], num_classes=37), seed=0)
    freeze_body(model, train_norm_layers="_trainbn1_" in case["id"])
    return layer_groups(model)


@pytest.mark.golden
@pytest.mark.parametrize("case", full_cases(), ids=lambda case: str(case["id"]))
def test_membership_freezing_and_decay_are_fastais(case: dict[str, Any]) -> None:
    groups = frozen_groups(case)

    for group, expected in zip(groups[:-1], case["groups"][:-1], strict=True):
        assert [
            (member.name.removeprefix("body."), member.parameter.requires_grad, member.decays)
            for member in group
        ] == [
            (p["torchvision"], p["trainable_when_frozen"], p["weight_decay"])
            for p in expected["params"]
        ]


@pytest.mark.golden
@pytest.mark.parametrize("case", full_cases() + summary_cases(), ids=lambda case: str(case["id"]))
def test_counts_of_each_group_are_fastais(case: dict[str, Any]) -> None:
    groups = frozen_groups(case)

    assert len(groups) == case["n_groups"]
    for group, expected in zip(groups, case["groups"], strict=True):
        trainable = [m.parameter.numel() for m in group if m.parameter.requires_grad]
        assert len(group) == expected["n_params"]
        assert sum(m.parameter.numel() for m in group) == expected["numel"]
        assert len(trainable) == expected["n_trainable_when_frozen"]
        assert sum(trainable) == expected["numel_trainable_when_frozen"]
        assert sum(not m.decays for m in group) == expected["n_without_wd"]


def test_unfreezing_lets_every_weight_train() -> None:
    model = build_model(tiny_model("resnet18"), seed=0)
    freeze_body(model, train_norm_layers=False)
    unfreeze(model)

    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", architectures.names())
def test_every_weight_is_in_one_group(name: str) -> None:
    model = build_model(tiny_model(name), seed=0)
    names = [member.name for group in layer_groups(model) for member in group]

    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
