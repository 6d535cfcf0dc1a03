from typing import Any

import pytest
import torch
from torch import nn

from ml.head import ConcatPool, create_head
from tests.golden.figures import Case, cases

NAMES = {"ConcatPool": "AdaptiveConcatPool2d"}
PROPERTIES: dict[str, tuple[str, ...]] = {
    "BatchNorm1d": ("num_features", "momentum", "eps"),
    "Dropout": ("p", "inplace"),
    "ReLU": ("inplace",),
}


def described(module: nn.Module) -> dict[str, Any]:
    kind = type(module).__name__
    facts = {name: getattr(module, name) for name in PROPERTIES.get(kind, ())}
    if isinstance(module, nn.Linear):
        facts = {
            "in_features": module.in_features,
            "out_features": module.out_features,
            "bias": module.bias is not None,
        }
    return {"type": NAMES.get(kind, kind), **facts}


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("head_optimizer", "create_head"))
def test_the_head_is_fastais(case: Case) -> None:
    args = case["args"]
    head = create_head(
        args["nf"],
        args["n_out"],
        hidden=args.get("lin_ftrs", [512]),
        dropout=args.get("ps", 0.5),
        linear_first=args.get("lin_first", False),
        norm_last=args.get("bn_final", False),
    )

    layers = [described(module) for module in head]

    # fastai uses one ReLU object for all blocks, and the record lists each object once.
    first_relu = next((i for i, layer in enumerate(layers) if layer["type"] == "ReLU"), -1)
    listed = [layer for i, layer in enumerate(layers) if layer["type"] != "ReLU" or i == first_relu]
    assert listed == case["layers"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("head_optimizer", "concat_pool"))
def test_pooling_puts_the_maxima_first(case: Case) -> None:
    pooled = ConcatPool()(torch.tensor(case["x"])).flatten(1)

    assert pooled.tolist() == case["out"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("head_optimizer", "head_init"))
def test_the_first_weights_are_drawn_as_fastai_draws_them(case: Case) -> None:
    torch.manual_seed(0)
    weights = dict(create_head(512, 37).named_parameters())

    assert list(weights) == [expected["name"] for expected in case["params"]]
    for expected in case["params"]:
        tensor = weights[expected["name"]].detach()
        assert list(tensor.shape) == expected["shape"]
        assert tensor.mean().item() == pytest.approx(expected["mean"], abs=1e-3)
        assert tensor.std().item() == pytest.approx(expected["std"], rel=0.03, abs=1e-7)


@pytest.mark.parametrize("linear_first", [False, True])
def test_a_norm_may_come_last_and_hardly_forgets(linear_first: bool) -> None:
    *_, linear, norm = create_head(6, 3, linear_first=linear_first, norm_last=True)

    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    assert (norm.num_features, norm.momentum) == (3, 0.01)


def test_linear_weights_are_drawn_as_torch_draws_them_for_relus() -> None:
    torch.manual_seed(7)
    head = create_head(16, 5, hidden=[32])
    drawn = [layer.weight for layer in head if isinstance(layer, nn.Linear)]

    deviations = [weight.std().item() for weight in drawn]
    assert deviations == pytest.approx([(2 / weight.shape[1]) ** 0.5 for weight in drawn], rel=0.1)
    assert [layer.bias for layer in head if isinstance(layer, nn.Linear)] == [None, None]


@pytest.mark.parametrize(
    ("dropout", "hidden", "rates"),
    [
        (0.5, [8, 8], [0.25, 0.25, 0.5]),
        (0.4, [], [0.4]),
        ([0.1, 0.2], [8], [0.1, 0.2]),
        (0.0, [8], [0.0, 0.0]),
    ],
)
def test_every_block_but_the_last_drops_half_as_much(
    dropout: float | list[float], hidden: list[int], rates: list[float]
) -> None:
    head = create_head(4, 2, hidden=hidden, dropout=dropout)

    assert [layer.p for layer in head if isinstance(layer, nn.Dropout)] == rates


def test_a_map_of_one_pixel_is_its_own_maximum_and_mean() -> None:
    assert ConcatPool()(torch.full((1, 2, 1, 1), 3.0)).flatten().tolist() == [3.0] * 4


def test_a_nan_in_a_map_is_not_hidden_by_pooling() -> None:
    pooled = ConcatPool()(torch.tensor([[[[1.0, float("nan")]]]])).flatten()

    assert pooled.isnan().all()


def test_a_head_of_vectors_takes_them_without_pooling() -> None:
    head = create_head(6, 3, pooled=False).eval()

    assert isinstance(head[0], nn.BatchNorm1d)
    assert head(torch.zeros(2, 6)).shape == (2, 3)
