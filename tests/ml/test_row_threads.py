"""The body by several threads: the same numbers as by one, again and again."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from ml import row_threads
from ml.backbones import ImageClassifier, build_model
from ml.device import autocast
from ml.row_threads import through_body
from tests.ml.fakes import tiny_model

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


class Told(nn.Module):
    """A body that notes how it was called."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.rows: list[int] = []
        self.threads: list[int] = []
        self.modes: list[tuple[bool, bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        self.threads.append(torch.get_num_threads())
        self.modes.append(
            (
                torch.is_grad_enabled(),
                torch.is_inference_mode_enabled(),
                torch.is_autocast_enabled("cpu"),
            )
        )
        features: Tensor = self.layers(x)
        return features


def images(rows: int) -> Tensor:
    return torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def model() -> ImageClassifier:
    built = build_model(tiny_model("squeezenet1_1"), seed=3).train()
    for layer in built.head.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return built


def gradients(classifier: ImageClassifier, batch: Tensor) -> list[Tensor]:
    classifier.zero_grad()
    classifier(batch).square().mean().backward()
    found = [each.grad for each in classifier.parameters() if each.grad is not None]
    return [each.clone() for each in found]


def test_gradients_are_those_of_one_thread() -> None:
    body, batch = model().body.double(), images(13).double()
    by_threads, by_one = through_body(body, batch), body(batch)
    torch.testing.assert_close(by_threads, by_one, rtol=1e-12, atol=1e-12)
    weights = list(body.parameters())
    ours, expected = (
        torch.autograd.grad(features.square().sum(), weights) for features in (by_threads, by_one)
    )
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_what_follows_is_done_to_each_part_and_is_a_part_of_the_gradients() -> None:
    body, batch = model().body.double(), images(13).double()
    rows: list[int] = []

    def largest(features: Tensor) -> Tensor:
        rows.append(len(features))
        return features.amax((2, 3))

    with_weights = through_body(body, batch, then=largest)
    with torch.no_grad():
        torch.testing.assert_close(through_body(body, batch, then=largest), with_weights.detach())
    assert sorted(rows) == [4, 4, 4, 4, 5, 5]  # with a way back, and without
    weights = list(body.parameters())
    ours, expected = (
        torch.autograd.grad(features.square().sum(), weights)
        for features in (with_weights, body(batch).amax((2, 3)))
    )
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_gradients_repeat_to_the_bit() -> None:
    first = gradients(model(), images(24))
    for _ in range(5):
        again = gradients(model(), images(24))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_some_groups_can_be_frozen() -> None:
    classifier = model()
    frozen = list(classifier.body.parameters())[:10]
    for each in frozen:
        each.requires_grad = False
    gradients(classifier, images(12))
    assert all(each.grad is None for each in frozen)
    assert all(each.grad is not None for each in classifier.parameters() if each.requires_grad)


def test_a_weight_that_is_not_used_has_no_gradient() -> None:
    body = Told(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    body.unused = nn.Parameter(torch.ones(1))
    torch.autograd.backward(through_body(body, images(12)).sum())
    assert body.unused.grad is None
    assert body.rows == [4, 4, 4]


def test_modes_of_the_caller_hold_in_each_thread() -> None:
    body = Told(nn.Conv2d(3, 4, 3))
    with torch.inference_mode(), autocast("bf16", CPU):
        features = through_body(body, images(12))
    assert body.modes == [(False, True, True)] * 3
    assert body.threads == [1, 1, 1]
    assert features.dtype == torch.bfloat16
    assert features.is_inference()


def test_rows_keep_their_order() -> None:
    body = Told(nn.Flatten())
    batch = images(14)
    with torch.no_grad():
        assert torch.equal(through_body(body, batch), batch.flatten(1))
    assert sorted(body.rows) == [4, 5, 5]


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm2d(3), nn.Dropout(0.1), StochasticDepth(0.1, "row")], ids=repr
)
def test_layers_in_which_rows_meet_or_draw_see_the_whole_batch(layer: nn.Module) -> None:
    body = Told(layer).train()
    through_body(body, images(12))
    assert body.rows == [12]
    body.eval()
    through_body(body, images(12))
    assert body.rows[1:] == [4, 4, 4]


def test_without_a_way_back_eight_rows_go_through_at_once() -> None:
    body, batch = Told(nn.Flatten(), nn.Linear(3 * 32 * 32, 2)), images(60)
    with torch.no_grad():
        torch.testing.assert_close(through_body(body, batch), body.layers(batch))
    assert sorted(body.rows) == [8, 8, 8, 9, 9, 9, 9]


@pytest.mark.parametrize(("rows", "each"), [(0, [0]), (1, [1]), (7, [7]), (8, [4, 4])])
def test_few_rows_are_not_divided_further(rows: int, each: list[int]) -> None:
    body = Told(nn.Flatten())
    through_body(body, images(rows))
    assert body.rows == each


def test_gradients_of_threads_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    body = Told(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    weights_bytes = sum(each.nbytes for each in body.parameters())
    monkeypatch.setattr(row_threads, "MOST_GRADIENTS_BYTES", weights_bytes)
    through_body(body, images(12))
    assert body.rows == [6, 6]
    monkeypatch.setattr(row_threads, "MOST_GRADIENTS_BYTES", weights_bytes - 1)
    through_body(body, images(12))
    assert body.rows[2:] == [12]


def test_an_error_in_one_thread_is_raised_when_all_have_ended() -> None:
    class Fails(Told):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            if x[0, 0, 0, 0] == 0:
                raise MemoryError
            return x

    body, batch = Fails(), torch.arange(12.0).view(12, 1, 1, 1)
    with pytest.raises(MemoryError):
        through_body(body, batch)
    assert body.rows == [4, 4, 4]
