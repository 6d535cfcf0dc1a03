"""Bodies in other forms.

On a CPU torch's recording is stood in for, and its compiler is asked to change nothing, but for one
test; with a GPU both are real.
"""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from ml import body_forms
from ml.backbones import ImageClassifier, build_model
from ml.body_forms import prepared, usable_forms
from ml.determinism import prefer_repeatable_kernels
from ml.device import Resolved, autocast
from ml.layer_groups import freeze_body
from ml.theory.step_forms import StepForm
from tests.ml.fakes import tiny_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def recorded(module: nn.Module, samples: tuple[Tensor, ...], *, allow_unused_input: bool) -> None:
    """Passes are taken as where a graph is recorded, and afterwards the module is as before."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    for _ in range(4):
        features = module(*samples)
        if weights:
            torch.autograd.grad(
                features, weights, torch.empty_like(features), allow_unused=allow_unused_input
            )


@pytest.fixture(autouse=True)
def compilings(monkeypatch: pytest.MonkeyPatch) -> CompileCounterWithBackend:
    """Counts what torch's compiler is given, and changes none of it."""
    real: Callable[..., Any] = torch.compile
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", recorded)
    monkeypatch.setattr(
        torch,
        "compile",
        lambda module, *, mode, dynamic: real(module, backend=counter, dynamic=dynamic),
    )
    return counter


def trained(device: torch.device = CPU, *, frozen: bool = False) -> ImageClassifier:
    model = build_model(tiny_model("resnet18"), seed=0).to(device).train()
    if frozen:
        freeze_body(model, train_norm_layers=False)
    return model


def images(count: int = 4, device: torch.device = CPU) -> Tensor:
    found = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1)).to(device)
    return found.contiguous(memory_format=torch.channels_last)


def gradients(body: nn.Module, of: nn.Module, given: Tensor) -> dict[str, Tensor]:
    of(given).float().square().mean().backward()
    found = {name: w.grad.clone() for name, w in body.named_parameters() if w.grad is not None}
    body.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("form", ["graphed", "compiled"])
@pytest.mark.parametrize("frozen", [False, True])
def test_preparing_leaves_the_body_and_torchs_random_numbers_as_they_were(
    form: StepForm, frozen: bool
) -> None:
    body = trained(frozen=frozen).body
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    drawn = torch.get_rng_state()

    prepared(body, form, torch.zeros_like(images()), "fp32")

    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(weight.grad is None for weight in body.parameters())


@pytest.mark.parametrize("form", ["graphed", "compiled"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_form_has_the_bodys_features_gradients_and_statistics(
    form: StepForm, precision: Resolved
) -> None:
    plain, other = trained().body, trained().body
    formed = prepared(other, form, torch.zeros_like(images()), precision)

    for _ in range(2):
        found = gradients(other, formed, images())
        with autocast(precision, CPU):
            wished = gradients(plain, plain, images())
        assert found.keys() == wished.keys()
        assert all(torch.equal(found[name], gradient) for name, gradient in wished.items())
    after = other.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in plain.state_dict().items())


def test_a_frozen_body_is_prepared_without_a_way_back() -> None:
    body = trained(frozen=True).body

    for form in ("graphed", "compiled"):
        features = prepared(body, form, torch.zeros_like(images()), "fp32")(images())

        assert not features.requires_grad


def test_a_cpu_has_the_eager_form_alone() -> None:
    assert usable_forms(trained().body, CPU) == ("eager",)


@pytest.mark.parametrize(
    ("compiler", "forms"),
    [("/usr/bin/gcc", ("eager", "graphed", "compiled")), (None, ("eager", "graphed"))],
)
def test_a_gpu_has_graphs_and_with_a_compiler_of_c_compiled_steps(
    compiler: str | None, forms: tuple[StepForm, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: compiler)

    assert usable_forms(trained().body, GPU) == forms


def test_a_body_that_draws_random_numbers_takes_them_one_by_one() -> None:
    body = build_model(tiny_model("efficientnet_b0"), seed=0).body

    assert usable_forms(body, GPU) == ("eager",)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_find_everything_compiled(
    precision: Resolved, compilings: CompileCounterWithBackend
) -> None:
    given = images()
    body = prepared(trained().body, "compiled", torch.zeros_like(given), precision)
    compiled = compilings.frame_count

    for _ in range(2):
        with autocast(precision, CPU):
            body(given).float().sum().backward()

    assert (compiled, compilings.frame_count) == (1, 1)


def test_a_recording_that_computes_something_else_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(
        module: nn.Module, samples: tuple[Tensor, ...], *, allow_unused_input: bool
    ) -> None:
        features = module(*samples)
        module.forward = lambda images: features

    body, before = trained().body, trained().body.state_dict()
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", nothing)

    with pytest.raises(RuntimeError, match="apart from the body's"):
        prepared(body, "graphed", torch.zeros_like(images()), "fp32")

    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())


def test_a_form_that_leaves_a_gpu_no_memory_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([3 << 30, 9 << 30])
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: next(held))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 << 30, 80 << 30))

    with (
        pytest.raises(torch.OutOfMemoryError, match="6144 MiB of the GPU's memory, and 5120 are"),
        body_forms._room_left(GPU),
    ):
        pass


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler")
def test_what_torchs_compiler_makes_computes_what_the_body_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    agree("compiled", CPU)


@needs_a_gpu
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("form", ["graphed", "compiled"])
@pytest.mark.parametrize("frozen", [False, True])
def test_on_a_gpu_a_form_computes_what_the_body_does(
    form: StepForm, frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    prefer_repeatable_kernels()
    try:
        agree(form, GPU, frozen=frozen)
    finally:
        torch.use_deterministic_algorithms(False)


def agree(form: StepForm, device: torch.device, *, frozen: bool = False) -> None:
    """Over a few passes the form's numbers are the body's, but for rounding."""
    plain, other = (trained(device, frozen=frozen).body for _ in range(2))
    given = images(device=device)
    formed = prepared(other, form, torch.zeros_like(given), "fp32")
    for _ in range(4):
        torch.testing.assert_close(formed(given), plain(given), rtol=1e-3, atol=1e-3)
        if not frozen:
            found, wished = gradients(other, formed, given), gradients(plain, plain, given)
            assert found.keys() == wished.keys()
            apart = torch.stack([(found[name] - wished[name]).norm() for name in wished]).norm()
            size = torch.stack([each.norm() for each in wished.values()]).norm()
            assert apart < 0.02 * size
    after = other.state_dict()
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-3, atol=1e-3)
