from typing import Any

import pytest
import torch
from torch import nn

from ml.head import ConcatPool, create_head
from tests.ml.fakes import golden_cases

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
@pytest.mark.parametrize("case", golden_cases("head_optimizer", "create_head"))
def test_the_head_is_fastais(case: dict[str, Any]) -> None:
    args = case["args"]
    head = create_head(
        args["nf"],
        args["n_out"],
        hidden=args.get("lin_ftrs", [512]),
        dropout=args.get("ps", 0.5),
        linear_first=args.get("lin_first", False),
    )

    layers = [described(module) for module in head]

    # fastai uses one ReLU object for all blocks, and the record lists each object once.
    first_relu = next((i for i, layer in enumerate(layers) if layer["type"] == "ReLU"), -1)
    listed = [layer for i, layer in enumerate(layers) if layer["type"] != "ReLU" or i == first_relu]
    assert listed == case["layers"]


@pytest.mark.golden
@pytest.mark.parametrize("case", golden_cases("head_optimizer", "concat_pool"))
def test_pooling_puts_the_maxima_first(case: dict[str, Any]) -> None:
    pooled = ConcatPool()(torch.tensor(case["x"])).flatten(1)

    assert pooled.tolist() == case["out"]


@pytest.mark.golden
@pytest.mark.parametrize("case", golden_cases("head_optimizer", "head_init"))
def test_the_first_weights_are_drawn_as_fastai_draws_them(case: dict[str, Any]) -> None:
    torch.manual_seed(0)
    weights = dict(create_head(512, 37).named_parameters())

    assert list(weights) == [expected["name"] for expected in case["params"]]
    for expected in case["params"]:
        tensor = weights[expected["name"]].detach()
        assert list(tensor.shape) == expected["shape"]
        assert tensor.mean().item() == pytest.approx(expected["mean"], abs=1e-3)
        assert tensor.std().item() == pytest.approx(expected["std"], rel=0.03, abs=1e-7)


def test_a_head_of_vectors_takes_them_without_pooling() -> None:
    head = create_head(6, 3, pooled=False).eval()

    assert isinstance(head[0], nn.BatchNorm1d)
    assert head(torch.zeros(2, 6)).shape == (2, 3)
