"""Phases that fastai has run on a small network, run again with our freezing and our optimiser."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from ml.backbones import ImageClassifier
from ml.layer_groups import freeze_body, unfreeze
from ml.optimizer import make_optimizer, set_rates
from ml.theory import architectures
from tests.golden.figures import Case, cases

WIDTH = 4


def classifier(groups: int) -> ImageClassifier:
    """Two blocks of a linear and a norm layer and a linear head; one group is a head alone."""
    torch.manual_seed(0)
    layers: list[tuple[str, nn.Module]] = [
        (name, nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.BatchNorm1d(WIDTH)))
        for name in ("body", "mid")
    ]
    layers.append(("head", nn.Linear(WIDTH, 2)))
    cut = 0 if groups == 1 else 2
    body, head = (nn.Sequential(OrderedDict(part)) for part in (layers[:cut], layers[cut:]))
    grouped = {1: (), 2: (("body", "mid"),), 3: (("body",), ("mid",))}[groups]
    return ImageClassifier(body, head, replace(architectures.get("resnet18"), groups=grouped))


def train(model: ImageClassifier, optimizer: torch.optim.Optimizer) -> None:
    """One step on a batch."""
    images = torch.randn(8, WIDTH)
    loss = nn.functional.cross_entropy(model(images), torch.arange(8) % 2)
    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
    optimizer.step()
    optimizer.zero_grad()


def run_again(case: Case) -> Iterator[tuple[ImageClassifier, torch.optim.AdamW]]:
    """The network and the optimiser after each recorded phase."""
    model = classifier(case["groups"])
    for number, phase in enumerate(case["phases"]):
        if case["kind"] == "fine_tune" and number == 0:
            freeze_body(model, train_norm_layers=case["learner_args"].get("train_bn", True))
        else:
            unfreeze(model)
        optimizer = make_optimizer(model, weight_decay=case["args"].get("wd", 0.01))
        for rates, momenta in zip(phase["lr"], phase["mom"], strict=True):
            set_rates(optimizer, rates, momenta[0])
            train(model, optimizer)
        yield model, optimizer


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("one_cycle", "fit_one_cycle", "fine_tune"))
def test_what_trains_in_each_phase_is_fastais(case: Case) -> None:
    for (model, optimizer), phase in zip(run_again(case), case["phases"], strict=True):
        moved = [name for name, weight in model.named_parameters() if weight in optimizer.state]

        assert sorted(name.split(".", 1)[1] for name in moved) == phase["trainable"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("one_cycle", "fit_one_cycle", "fine_tune"))
def test_each_phase_has_fastais_decay_and_counts_its_steps_from_none(case: Case) -> None:
    for (_, optimizer), phase in zip(run_again(case), case["phases"], strict=True):
        decays = [group["weight_decay"] for group in optimizer.param_groups[::2]]
        counts = {int(state["step"]) for state in optimizer.state.values()}

        assert decays == phase["wd"]
        assert sorted(counts) == phase["adam_step_counts_after"]
        assert {group["weight_decay"] for group in optimizer.param_groups[1::2]} == {0.0}


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("head_optimizer", "frozen_bn"))
def test_what_moves_in_a_frozen_group_is_what_moves_in_fastais(case: Case) -> None:
    model = classifier(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    freeze_body(model, train_norm_layers=case["train_bn"])
    optimizer = make_optimizer(model, weight_decay=0.01)
    set_rates(optimizer, [0.01] * 3, 0.9)
    train(model, optimizer)

    after = model.state_dict()
    seen = {
        "running_mean_changed": "body.body.1.running_mean",
        "bn_weight_changed": "body.body.1.weight",
        "linear_weight_changed": "body.body.0.weight",
    }
    assert {what: not torch.equal(before[at], after[at]) for what, at in seen.items()} == case[
        "observed"
    ]
