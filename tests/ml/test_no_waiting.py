"""A step asks the device for no number: on a GPU the CPU would wait for all that is under way."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ml.backbones import build_model
from ml.cache import Pixels
from ml.determinism import prefer_repeatable_kernels
from ml.evaluate import predict_logits
from ml.layer_groups import freeze_body
from ml.optimizer import make_optimizer, set_rates
from ml.photos import LabelledPhoto
from ml.step import Batch, Stepper, make_scaler
from ml.training_batches import TrainingBatches
from tests.ml.fakes import carry_on, tiny_data, tiny_model

CPU = torch.device("cpu")
needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Questions(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch declares no types
    """Counts what takes a number out of a tensor."""

    ASKING = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.asked: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204, D105  # as torch defines it
        name = func.overloadpacket.__name__
        if name in self.ASKING:
            self.asked.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def no_question() -> Iterator[None]:
    with Questions() as questions:
        yield
    assert questions.asked == []


def stepper(device: torch.device, *, scaled: bool, frozen: bool = False) -> Stepper:
    model = build_model(tiny_model("resnet18"), seed=0).to(device).train()
    if frozen:
        freeze_body(model, train_norm_layers=False)
    optimizer = make_optimizer(model, weight_decay=0.01)
    set_rates(optimizer, (1e-3, 1e-3, 1e-3), 0.9)
    weights = torch.tensor([1.0, 2.0], device=device)
    scaler = make_scaler("fp16" if scaled else "fp32", device)
    return Stepper(model, optimizer, scaler, "fp32", 0.1, class_weights=weights)


def eight_images() -> Batch:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    return Batch(images, torch.arange(8) % 2)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_step_asks_for_no_number(scaled: bool, frozen: bool) -> None:
    step, batch = stepper(CPU, scaled=scaled, frozen=frozen), eight_images()

    with no_question():
        for lr in (1e-3, 1e-4):
            set_rates(step.optimizer, (lr, lr, lr), 0.9)
            step(batch)


def test_a_question_would_be_seen() -> None:
    with Questions() as questions:
        torch.ones(1).item()

    assert questions.asked == ["_local_scalar_dense"]


@needs_a_gpu
@pytest.mark.parametrize("scaled", [False, True])
def test_batches_steps_and_evaluations_do_not_make_the_cpu_wait(
    scaled: bool, train: list[LabelledPhoto], pixels: Pixels
) -> None:
    """Torch raises where the CPU would wait for the GPU."""
    gpu = torch.device("cuda")
    prefer_repeatable_kernels()
    step = stepper(gpu, scaled=scaled)
    batches = TrainingBatches(train, pixels, tiny_data(), 4, 0, gpu)
    first, *others = batches.keys(0)
    step(batches.make(first))

    torch.cuda.set_sync_debug_mode("error")
    try:
        for key in others:
            step(batches.make(key))
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.use_deterministic_algorithms(False)


def test_an_evaluation_asks_for_no_number(valid: list[LabelledPhoto], valid_pixels: Pixels) -> None:
    model = build_model(tiny_model("resnet18"), seed=0)

    with no_question():
        predict_logits(
            model,
            valid_pixels,
            valid,
            size=32,
            batch_size=4,
            precision="fp32",
            device=CPU,
            command=carry_on,
        )
