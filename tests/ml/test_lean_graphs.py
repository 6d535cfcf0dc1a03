"""Bodies whose graphs keep less: the same bits, forward and back."""

import gc
from collections.abc import Callable
from weakref import ref

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from ml.device import Resolved, autocast
from ml.lean_graphs import lean

CPU = torch.device("cpu")


def squeezenet() -> nn.Module:
    torch.manual_seed(3)
    body: nn.Module = models.squeezenet1_1().features
    return body.to(memory_format=torch.channels_last)


def images(rows: int = 3) -> Tensor:
    drawn = torch.randn(rows, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=torch.channels_last)


def features_and_gradients(
    way: Callable[[Tensor], Tensor], body: nn.Module, precision: Resolved
) -> list[Tensor]:
    with autocast(precision, CPU):
        features = way(images())
    return [features, *torch.autograd.grad(features.square().sum(), list(body.parameters()))]


def kept_bytes(way: Callable[[Tensor], Tensor], body: nn.Module) -> int:
    """Of what autograd keeps for the way back beside weights, each storage once."""
    weights = {each.untyped_storage().data_ptr() for each in body.parameters()}
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        features = way(images())
    assert features.requires_grad
    return sum(storage.nbytes() for place, storage in kept.items() if place not in weights)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_features_and_gradients_have_the_bits_of_the_body(precision: Resolved) -> None:
    body = squeezenet()
    found, expected = (features_and_gradients(way, body, precision) for way in (lean(body), body))
    assert len(found) == len(expected) == 51
    assert all(map(torch.equal, found, expected))


def test_a_quarter_less_is_kept() -> None:
    body = squeezenet()
    assert kept_bytes(lean(body), body) < 0.75 * kept_bytes(body, body)


def test_the_way_is_that_of_the_mode() -> None:
    body = nn.Sequential(squeezenet(), nn.Dropout(0.9))
    as_scored = lean(body.eval())(images())
    as_trained = lean(body.train())(images())
    assert torch.equal(as_scored, body.eval()(images()))
    assert (as_trained == 0).sum() > (as_scored == 0).sum()
    assert lean(body) is lean(body)


def test_a_body_that_is_gone_is_forgotten() -> None:
    body = squeezenet()
    lean(body)
    there = ref(body)
    del body
    gc.collect()
    assert there() is None


class Joined(nn.Module):
    """Two maps of one, each with a ReLU, put together."""

    def __init__(self, *, heard: str = "") -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)])
        self.relu = nn.ReLU(inplace=True)
        self.heard = heard

    def forward(self, x: Tensor) -> Tensor:
        before = [layer(x) for layer in self.layers]
        after = [self.relu(each) for each in before]
        joined: Tensor = torch.cat(after, 1)
        if self.heard == "before":
            joined = joined + before[0].repeat(1, 2, 1, 1)
        if self.heard == "after":
            joined = joined + after[0].repeat(1, 2, 1, 1)
        return joined


@pytest.mark.parametrize("heard", ["before", "after"])
def test_what_others_hear_of_stays_as_it_is(heard: str) -> None:
    body = Joined(heard=heard)
    assert lean(body) is body
    assert lean(Joined()) is not body


@pytest.mark.parametrize(
    "body",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()),
        models.densenet121().features,
    ],
    ids=["no joint", "no ReLU", "joints before norms"],
)
def test_where_nothing_is_kept_twice_nothing_changes(body: nn.Module) -> None:
    assert lean(body) is body
