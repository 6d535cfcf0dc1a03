import functools
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from ml.backbones import ImageClassifier, build_model
from ml.head import create_head
from ml.layer_groups import (
    NORM_LAYERS,
    GroupedParameter,
    blocks,
    freeze_body,
    layer_groups,
    unfreeze,
)
from ml.meta_device import weights_without_numbers
from ml.odd_families import make_body
from ml.theory import architectures
from ml.theory.layer_rates import layer_decay_scales
from tests.golden.figures import Case, cases
from tests.ml.fakes import tiny_model

TIMMS_DECAY = 0.05


def in_the_table(case: Case) -> bool:
    """Whether torchvision has the network, under timm's name."""
    return case["arch"] in architectures.names()


@pytest.fixture(scope="module", params=architectures.names())
def shapes(request: pytest.FixtureRequest) -> Iterator[ImageClassifier]:
    """Each classifier of the table, without numbers."""
    with weights_without_numbers():
        yield build_model(tiny_model(request.param), seed=0)


@functools.cache
def fastais_classifier(name: str, *, has_rule: bool) -> ImageClassifier:
    """The network with fastai's new head, cut and grouped as fastai does; without numbers.

    Where fastai has no rule for a network, the body ends before the last child that pools and is
    a single group. That is too short for some (ShuffleNet), so our table has a cut for each.
    """
    with weights_without_numbers():
        row, network = architectures.get(name), get_model(name, weights=None)
        if not has_rule:
            pooling = [place for place, child in enumerate(network.children()) if pools(child)]
            kept = tuple(child for child, _ in network.named_children())[: pooling[-1]]
            row = replace(row, body=kept, groups=(kept,))
        body = make_body(network, row).to("meta")
        features: int = body(torch.empty(1, 3, 224, 224, device="meta")).shape[1]
        return ImageClassifier(body, create_head(features, 37), replace(row, features=features))


@functools.cache
def our_classifier(name: str) -> ImageClassifier:
    """The network as a fine-tune has it, without numbers."""
    with weights_without_numbers():
        return build_model(tiny_model(name, num_classes=37), seed=0)


def pools(child: nn.Module) -> bool:
    """Whether a layer of this kind or one inside it pools."""
    return any(re.search("Pool[123]d$", type(layer).__name__) for layer in child.modules())


def fastais_name(name: str, row: architectures.Architecture) -> str:
    """Our name of a weight in fastai's terms: body and head, and children, by number."""
    part, child, rest = name.split(".", 2)
    return f"1.{child}.{rest}" if part == "head" else f"0.{row.body.index(child)}.{rest}"


def torchvisions_name(name: str) -> str | None:
    """Our name of a weight in torchvision's terms; the head is not torchvision's."""
    return name.removeprefix("body.") if name.startswith("body.") else None


GROUPED = cases("discriminative", "groups_full", "groups_summary")


@pytest.mark.golden
@pytest.mark.parametrize("case", GROUPED)
def test_the_layer_groups_are_fastais(case: Case) -> None:
    model = fastais_classifier(case["arch"], has_rule=case["in_model_meta"])
    groups = layer_groups(model)

    assert model.architecture.features == case["num_features"]
    assert len(groups) == case["n_groups"] == case["fastai_optimizer_frozen_idx"] + 1
    assert case["params_in_no_group"] == []
    for group, expected in zip(groups, case["groups"], strict=True):
        assert len(group) == expected["n_params"]
        assert sum(member.parameter.numel() for member in group) == expected["numel"]
        for member, place in ((group[0], "first"), (group[-1], "last")):
            if f"{place}_fastai" in expected:
                assert torchvisions_name(member.name) == expected[f"{place}_torchvision"]
                found = fastais_name(member.name, model.architecture)
                assert found == expected[f"{place}_fastai"]


@pytest.mark.golden
@pytest.mark.parametrize("case", GROUPED)
def test_what_trains_when_frozen_and_what_decays_is_fastais(case: Case) -> None:
    model = fastais_classifier(case["arch"], has_rule=case["in_model_meta"])
    freeze_body(model, train_norm_layers="_trainbn1_" in case["id"])

    for group, expected in zip(layer_groups(model), case["groups"], strict=True):
        trainable = [member.parameter.numel() for member in group if trains(member)]
        assert len(trainable) == expected["n_trainable_when_frozen"]
        assert sum(trainable) == expected["numel_trainable_when_frozen"]
        assert sum(not member.decays for member in group) == expected["n_without_wd"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("discriminative", "groups_full"))
def test_membership_freezing_and_decay_of_every_weight_are_fastais(case: Case) -> None:
    model = fastais_classifier(case["arch"], has_rule=case["in_model_meta"])
    freeze_body(model, train_norm_layers="_trainbn1_" in case["id"])

    for group, expected in zip(layer_groups(model), case["groups"], strict=True):
        assert expected["params"] == [
            {
                "torchvision": torchvisions_name(member.name),
                "fastai": fastais_name(member.name, model.architecture),
                "trainable_when_frozen": trains(member),
                "weight_decay": member.decays,
            }
            for member in group
        ]


def trains(member: GroupedParameter) -> bool:
    return member.parameter.requires_grad


@pytest.mark.golden
@pytest.mark.parametrize(
    "case", [case for case in GROUPED if "shufflenet" not in case.values[0]["arch"]]
)
def test_our_groups_of_a_body_together_are_fastais_body(case: Case) -> None:
    *body, head = layer_groups(our_classifier(case["arch"]))
    expected = case["groups"]

    assert [member.name for member in head] == [f"head.{at}" for at in HEAD]
    assert sum(map(len, body)) == sum(group["n_params"] for group in expected[:-1])
    assert sum(m.parameter.numel() for m in head) == expected[-1]["numel"]
    if case["in_model_meta"]:
        assert list(map(len, body)) == [group["n_params"] for group in expected[:-1]]


HEAD = ("2.weight", "2.bias", "4.weight", "6.weight", "6.bias", "8.weight")


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
@pytest.mark.parametrize("case", cases("discriminative", "timm_layer_decay", where=in_the_table))
def test_the_blocks_of_a_network_that_we_share_are_those_of_timm(case: Case) -> None:
    *found, _ = blocks(our_classifier(case["arch"]))
    scales = layer_decay_scales(len(found) + 1, **case["args"])
    *expected, decayed_head, bias_of_head = case["groups"]

    ours = [
        (pytest.approx(scale), decays, [torchvisions_name(member.name) for member in members])
        for scale, block in zip(scales, found, strict=False)
        for decays in (True, False)
        if (members := [member for member in block if member.decays == decays])
    ]
    assert len(ours) == len(expected)
    for (scale, decays, names), group in zip(ours, expected, strict=True):
        assert group["lr_scale"] == scale
        assert (group["weight_decay"] == TIMMS_DECAY) == decays
        assert group["weight_decay"] in (TIMMS_DECAY, 0.0)
        assert (group["n"], group["first"], group["last"]) == (len(names), names[0], names[-1])
    classifier = our_classifier(case["arch"]).architecture.cut[-1]
    for group, decay, name in (
        (decayed_head, TIMMS_DECAY, f"{classifier}.weight"),
        (bias_of_head, 0.0, f"{classifier}.bias"),
    ):
        assert (group["lr_scale"], group["weight_decay"], group["n"]) == (1.0, decay, 1)
        assert group["first"] == group["last"] == name


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
