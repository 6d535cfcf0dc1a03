import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ml.backbones import build_model
from ml.optimizer import adamw, make_optimizer, set_rates
from tests.golden.figures import Case, cases
from tests.ml.fakes import tiny_model


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("head_optimizer", "adam"))
def test_steps_are_those_of_fastais_adam(case: Case) -> None:
    weights = nn.Parameter(torch.tensor(case["p0"], dtype=torch.float64))
    decays = re.search(r" wd=([\d.]+)", case["produced_by"])
    assert decays
    decay = 0.0 if "do_wd=False" in case["produced_by"] else float(decays[1])
    optimizer = adamw([{"params": [weights], "layer_group": 0, "weight_decay": decay}])

    for gradient, expected in zip(case["grads"], case["steps"], strict=True):
        weights.grad = torch.tensor(gradient, dtype=torch.float64)
        set_rates(optimizer, [expected["lr"]], expected["mom"])
        optimizer.step()
        assert weights.tolist() == pytest.approx(expected["params"], rel=1e-9)


@given(
    steps=st.lists(
        st.tuples(st.floats(1e-6, 0.1), st.floats(0.5, 0.99), st.floats(-10, 10)),
        min_size=1,
        max_size=8,
    ),
    decay=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_steps_of_changing_rate_and_momentum_follow_the_formula(
    steps: list[tuple[float, float, float]], decay: float
) -> None:
    weight = nn.Parameter(torch.tensor([1.5], dtype=torch.float64))
    optimizer = adamw([{"params": [weight], "layer_group": 0, "weight_decay": decay}])
    by_hand, mean, square = 1.5, 0.0, 0.0

    for count, (lr, momentum, gradient) in enumerate(steps, start=1):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        set_rates(optimizer, [lr], momentum)
        optimizer.step()

        mean = momentum * mean + (1 - momentum) * gradient
        square = 0.99 * square + 0.01 * gradient**2
        size = mean / (1 - momentum**count)
        by_hand *= 1 - lr * decay
        by_hand -= lr * size / ((square / (1 - 0.99**count)) ** 0.5 + 1e-5)
        assert weight.item() == pytest.approx(by_hand, rel=1e-9)


def test_each_block_has_its_own_rate_where_that_is_asked_for() -> None:
    model = build_model(tiny_model("resnet18"), seed=0)
    optimizer = make_optimizer(model, weight_decay=0.01, rate_per="block")
    set_rates(optimizer, [float(number) for number in range(10)], 0.85)

    rate_of = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    rates = {name: rate_of[id(weight)] for name, weight in model.named_parameters()}
    assert rates["body.conv1.weight"] == rates["body.bn1.bias"] == 0.0
    assert rates["body.layer1.0.conv1.weight"] == 1.0
    assert rates["body.layer4.1.bn2.bias"] == 8.0
    assert rates["head.2.weight"] == 9.0


def test_each_layer_group_has_its_own_rate_and_all_one_momentum() -> None:
    optimizer = make_optimizer(build_model(tiny_model("resnet18"), seed=0), weight_decay=0.01)
    set_rates(optimizer, (1e-5, 1e-4, 1e-3), 0.85)

    rates = [(g["layer_group"], g["lr"], g["weight_decay"]) for g in optimizer.param_groups]
    assert rates == [
        (0, 1e-5, 0.01),
        (0, 1e-5, 0.0),
        (1, 1e-4, 0.01),
        (1, 1e-4, 0.0),
        (2, 1e-3, 0.01),
        (2, 1e-3, 0.0),
    ]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.85, 0.99)}
