"""Convolutions with their ReLU: the bits of the body, whatever becomes of its weights."""

import gc
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor, nn

from ml import fused_convolutions
from ml.backbones import build_model
from ml.device import autocast
from ml.fused_convolutions import fused
from tests.ml.fakes import tiny_model

CPU = torch.device("cpu")

HAS_BF16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def images(rows: int = 5, side: int = 64, channels: int = 3) -> Tensor:
    drawn = torch.randn(rows, channels, side, side, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=torch.channels_last)


def both(body: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """The features by the body itself, and by what stands for it."""
    with torch.inference_mode(), autocast("bf16", CPU):
        return body(batch), fused(body)(batch)


@pytest.mark.parametrize("name", ["squeezenet1_1", "vgg11", "alexnet"])
def test_the_bits_are_those_of_the_body(name: str) -> None:
    body = build_model(tiny_model(name), seed=3).eval().body
    for rows in (5, 2):
        expected, found = both(body, images(rows))
        assert found.dtype == expected.dtype == torch.bfloat16
        assert torch.equal(found, expected)


@pytest.mark.parametrize("side", [64, 66, 67, 71])
def test_maps_whose_last_windows_reach_beyond_them_are_pooled_as_before(side: int) -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).eval().body
    expected, found = both(body, images(side=side))
    assert found.shape == expected.shape
    assert torch.equal(found, expected)


class Joined(nn.Module):
    """Convolutions of one map, each with its ReLU, whose maps are put together."""

    def __init__(self, *layers: nn.Module, along: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.relu = nn.ReLU()
        self.along = along

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.relu(layer(x)) for layer in self.layers], self.along)


def convolutions_in(body: nn.Module) -> int:
    """Calls of convolutions in what stands for the body."""
    with autocast("bf16", CPU):
        lean = fused(body)
    assert isinstance(lean, nn.Module)
    return sum("fused" in name for name, _ in lean.named_children())


@pytest.mark.parametrize(
    ("layers", "along", "calls"),
    [
        ([(16, 8, 1), (16, 4, 3)], 1, 1),
        ([(32, 4, 5), (32, 8, 1), (32, 4, 3)], 1, 1),
        ([(16, 4, 1, {"bias": False}), (16, 4, 3, {"bias": False})], 1, 1),
        ([(16, 4, 1), (16, 4, 3, {"bias": False})], 1, 2),
        ([(16, 4, 1), (16, 4, 1)], 2, 2),
        ([(16, 4, 1), (16, 4, 3, {"groups": 2})], 1, 2),
        ([(16, 4, 3, {"padding": 2, "dilation": 2}), (16, 4, 1)], 1, 2),
        ([(16, 4, 1), (16, 4, (1, 3), {"padding": (0, 1)})], 1, 2),
        ([(8, 4, 1), (8, 4, 3)], 1, 2),
    ],
    ids=[
        "two kernels",
        "three kernels",
        "no bias",
        "one bias",
        "one below the other",
        "groups",
        "dilated",
        "not square",
        "few channels",
    ],
)
def test_convolutions_that_read_the_same_places_become_one(
    layers: list[tuple[Any, ...]], along: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_convolutions, "has_matrix_units", lambda: True)
    torch.manual_seed(0)
    made = []
    for inputs, outputs, side, *how in layers:
        given: dict[str, Any] = {"padding": side // 2} if isinstance(side, int) else {}
        made.append(nn.Conv2d(inputs, outputs, side, **given | dict(*how)))
    body = Joined(*made, along=along).eval()
    expected, found = both(body, images(channels=layers[0][0]))
    assert torch.equal(found, expected)
    assert found.stride() == expected.stride()
    assert convolutions_in(body) == (calls if HAS_BF16 else 0)


def test_convolutions_stay_apart_where_zeros_cost_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_convolutions, "has_matrix_units", lambda: False)
    body = Joined(nn.Conv2d(16, 8, 1), nn.Conv2d(16, 4, 3, padding=1)).eval()
    expected, found = both(body, images(channels=16))
    assert torch.equal(found, expected)
    assert convolutions_in(body) == (2 if HAS_BF16 else 0)


def test_of_values_that_may_be_below_zero_the_largest_is_found() -> None:
    body = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2)).eval()
    expected, found = both(body, images())
    assert (images() < 0).any()
    assert torch.equal(found, expected)
    assert convolutions_in(body) == (1 if HAS_BF16 else 0)


def test_a_body_is_taken_apart_once() -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).eval().body
    with autocast("bf16", CPU):
        first = fused(body)
        assert fused(body) is first
        again = fused(body.train())
    if HAS_BF16:
        assert body not in {first, again}
        assert again is not first
    else:
        assert first is again is body


def test_changed_weights_are_followed() -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).eval().body
    before, _ = both(body, images())
    with torch.no_grad():
        for each in body.parameters():
            each.mul_(1.5)
    expected, found = both(body, images())
    assert not torch.equal(expected, before)
    assert torch.equal(found, expected)


def test_a_frozen_body_is_trained_on_after_it_was_scored_and_scored_after() -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).eval().body.requires_grad_(False)
    scored, _ = both(body, images())
    head = nn.Parameter(torch.ones(1))
    with autocast("bf16", CPU):
        features = fused(body)(images())
    torch.autograd.backward((features.float() * head).sum())
    assert torch.equal(features, scored)
    assert torch.equal(head.grad or torch.zeros(1), scored.float().sum().reshape(1))
    assert torch.equal(both(body, images())[1], scored)


def test_weights_that_an_optimizer_moves_are_followed() -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).body
    optimizer = torch.optim.AdamW(body.parameters(), lr=0.1, fused=True)
    both(body, images())
    body(images()).sum().backward()
    optimizer.step()
    expected, found = both(body, images())
    assert torch.equal(found, expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e37])
def test_what_is_not_a_number_stays_so(value: float) -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).eval().body
    with torch.no_grad():
        next(iter(body.parameters()))[0, 0, 0, 0] = value
    expected, found = both(body, images())
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
    with autocast("bf16", CPU):
        assert fused(body) is body


def test_a_body_that_is_gone_is_forgotten() -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).eval().body
    both(body, images())
    there = ref(body)
    del body
    gc.collect()
    assert there() is None


class Shared(nn.Module):
    """A convolution that is heard of twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x)
        both: Tensor = features + self.relu(features)
        return both


class Winding(nn.Module):
    """A way that depends on the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x) if x.sum() > 0 else self.layers(-x)
        return features


@pytest.mark.parametrize(
    "body",
    [
        Shared(),
        Winding(),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding="same"), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)),
    ],
    ids=["heard twice", "winding", "norm between", "same", "reflected", "no ReLU", "norm behind"],
)
def test_other_bodies_are_left_as_they_are(body: nn.Module) -> None:
    with autocast("bf16", CPU):
        assert fused(body.eval()) is body


def test_in_float32_nothing_is_changed() -> None:
    body = build_model(tiny_model("squeezenet1_1"), seed=3).eval().body
    assert fused(body) is body
