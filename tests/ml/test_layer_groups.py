from collections.abc import Iterator
from typing import Any

import pytest

from ml.backbones import ImageClassifier, build_model
from ml.layer_groups import (
    NORM_LAYERS,
    GroupedParameter,
    blocks,
    freeze_body,
    layer_groups,
    unfreeze,
)
from ml.meta_device import weights_without_numbers
from ml.theory import architectures
from tests.ml.fakes import golden_cases, tiny_model


def full_cases() -> list[dict[str, Any]]:
    return golden_cases("discriminative", "groups_full")


def summary_cases(*, groups: int) -> list[dict[str, Any]]:
    cases = golden_cases("discriminative", "groups_summary")
    return [case for case in cases if case["n_groups"] == groups]


def body_cases() -> list[dict[str, Any]]:
    """Networks for which fastai has no rule; it keeps but the first layers of a ShuffleNet."""
    return [case for case in summary_cases(groups=2) if "shufflenet" not in case["arch"]]


@pytest.fixture(scope="module", params=architectures.names())
def shapes(request: pytest.FixtureRequest) -> Iterator[ImageClassifier]:
    """Each classifier of the table, without numbers."""
    with weights_without_numbers():
        yield build_model(tiny_model(request.param), seed=0)


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
@pytest.mark.parametrize(
    "case", full_cases() + summary_cases(groups=3), ids=lambda case: str(case["id"])
)
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


@pytest.mark.golden
@pytest.mark.parametrize("case", body_cases(), ids=lambda case: str(case["id"]))
def test_the_groups_of_a_body_together_are_fastais_body(case: dict[str, Any]) -> None:
    *body, head = frozen_groups(case)
    members = [member for group in body for member in group]

    assert len(members) == case["groups"][0]["n_params"]
    assert sum(m.parameter.numel() for m in members) == case["groups"][0]["numel"]
    assert sum(m.parameter.numel() for m in head) == case["groups"][1]["numel"]


def test_unfreezing_lets_every_weight_train() -> None:
    model = build_model(tiny_model("resnet18"), seed=0)
    freeze_body(model, train_norm_layers=False)
    unfreeze(model)

    assert all(parameter.requires_grad for parameter in model.parameters())


def test_every_weight_is_in_one_group_and_the_head_in_the_last(shapes: ImageClassifier) -> None:
    groups = layer_groups(shapes)
    names = [member.name for group in groups for member in group]

    assert sorted(names) == sorted(name for name, _ in shapes.named_parameters())
    assert all(groups)
    assert {m.name for m in groups[-1]} == {n for n in names if n.startswith("head.")}


def test_every_weight_is_in_one_block_in_the_order_of_the_layer_groups(
    shapes: ImageClassifier,
) -> None:
    found = blocks(shapes)
    names = [member.name for block in found for member in block]

    assert len(found) == shapes.architecture.blocks + 1
    assert sorted(names) == sorted(name for name, _ in shapes.named_parameters())
    assert all(any(member.decays for member in block) for block in found)
    group_of = {m.name: place for place, group in enumerate(layer_groups(shapes)) for m in group}
    lowest = [min(group_of[member.name] for member in block) for block in found]
    assert lowest == sorted(lowest)


@pytest.mark.golden
def test_the_blocks_of_a_resnet_are_those_of_timm() -> None:
    (case,) = (
        case
        for case in golden_cases("discriminative", "timm_layer_decay")
        if case["arch"] == "resnet18"
    )
    found = blocks(build_model(tiny_model("resnet18", num_classes=37), seed=0))

    for power, block in enumerate(reversed(found[:-1]), start=1):
        groups = [g for g in case["groups"] if g["lr_scale"] == pytest.approx(0.75**power)]
        assert sum(group["n"] for group in groups) == len(block)
        first, last = (block[place].name.removeprefix("body.") for place in (0, -1))
        assert first in {group["first"] for group in groups}
        assert last in {group["last"] for group in groups}


def test_the_table_counts_the_weights_of_each_group(shapes: ImageClassifier) -> None:
    counts = [sum(m.parameter.numel() for m in group) for group in layer_groups(shapes)]

    assert tuple(counts[:-1]) == shapes.architecture.group_parameters


def test_freezing_leaves_the_head_and_the_norms_to_train(shapes: ImageClassifier) -> None:
    norms = {
        f"{path}.{name}"
        for path, module in shapes.named_modules()
        if isinstance(module, NORM_LAYERS)
        for name, _ in module.named_parameters()
    }
    head = {name for name, _ in shapes.named_parameters() if name.startswith("head.")}

    for train_norm_layers, expected in ((True, head | norms), (False, head)):
        freeze_body(shapes, train_norm_layers=train_norm_layers)

        assert {n for n, p in shapes.named_parameters() if p.requires_grad} == expected
