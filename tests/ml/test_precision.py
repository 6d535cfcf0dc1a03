"""What reduced precision touches and what it does not, in the real loop and in single steps."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ml.backbones import ImageClassifier, build_model
from ml.config import Precision
from ml.device import Resolved
from ml.optimizer import make_optimizer, set_rates
from ml.step import Batch, Stepper, make_scaler
from tests.ml.fakes import tiny_model
from tests.ml.tiny_nets import Bench, Course, photos

CPU = torch.device("cpu")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def trained(bench: Bench, precision: Precision) -> Course:
    config = bench.config(precision=precision)
    return bench.run(config, train=photos(12), valid=photos(7))


def losses(course: Course) -> list[float]:
    return [report.loss for report in course.listener.steps]


def test_bf16_trains_to_nearly_the_losses_of_fp32_but_not_to_the_same(bench: Bench) -> None:
    reduced, full = trained(bench, "bf16"), trained(bench, "fp32")

    assert (reduced.outcome.resolved["precision"], full.outcome.resolved["precision"]) == (
        "bf16",
        "fp32",
    )
    assert losses(reduced) != losses(full)
    assert losses(reduced) == pytest.approx(losses(full), rel=0.02)
    valid = [[epoch.valid_loss for epoch in course.listener.epochs] for course in (reduced, full)]
    assert valid[0] == pytest.approx(valid[1], rel=0.02)


def test_fp16_on_the_cpu_is_fp32_to_the_bit_and_says_so(bench: Bench) -> None:
    half, full = trained(bench, "fp16"), trained(bench, "fp32")

    assert half.outcome.resolved["precision"] == "fp32"
    assert losses(half) == losses(full)


def test_in_reduced_precision_weights_statistics_gradients_and_logits_are_float32(
    bench: Bench,
) -> None:
    course = trained(bench, "bf16")

    tensors = [tensor for name, tensor in course.weights.items() if "num_batches" not in name]
    seen = [each for step in course.steps for each in step.values()]
    gradients = [each.gradient for each in seen if each.gradient is not None]
    logits = [each for _, each in course.logits]
    assert {tensor.dtype for tensor in tensors + gradients + logits} == {torch.float32}


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 4.0])])
def test_the_loss_of_a_reduced_step_is_computed_in_float32_from_its_logits(
    weights: Tensor | None,
) -> None:
    model, batch = build_model(tiny_model("resnet18"), seed=0).train(), eight_images()
    logits: list[Tensor] = []
    model.register_forward_hook(lambda module, args, out: logits.append(out.detach().clone()))

    loss = replace(stepper_of(model, "bf16"), class_weights=weights)(batch)

    x_BC = logits[0].double().numpy()
    rows, w_B = np.arange(8), np.ones(8) if weights is None else weights.numpy()[batch.labels]
    loss_B = np.log(np.exp(x_BC).sum(1)) - x_BC[rows, batch.labels]
    assert loss.dtype == torch.float32
    # bfloat16 has three digits, so agreement in six shows that none of it was left
    assert loss.item() == pytest.approx((w_B * loss_B).sum() / w_B.sum(), rel=1e-6)


def test_norm_layers_take_reduced_maps_but_average_them_in_float32() -> None:
    model, taken = build_model(tiny_model("resnet18"), seed=0).train(), list[Tensor]()
    norm = model.body.get_submodule("bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    norm.register_forward_hook(lambda module, args, out: taken.append(args[0].detach().clone()))

    stepper_of(model, "bf16")(eight_images())

    (maps_BCHW,) = taken
    assert maps_BCHW.dtype == torch.bfloat16
    assert norm.running_mean is not None
    # the running mean begins at zero and moves by a tenth
    expected = 0.1 * maps_BCHW.double().mean(dim=(0, 2, 3))
    torch.testing.assert_close(norm.running_mean.double(), expected, rtol=1e-4, atol=1e-7)


def test_the_head_computes_in_float32_whatever_the_body_does() -> None:
    model, batch = build_model(tiny_model("resnet18"), seed=0).eval(), eight_images()
    features: list[Tensor] = []
    model.body.register_forward_hook(lambda module, args, out: features.append(out))

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = model(batch.images)

    assert features[0].dtype == torch.bfloat16
    assert torch.equal(logits, model.head(features[0].float()))


# --- loss scaling, which torch has on the CPU as well -------------------------------------------


def test_only_fp16_scales_its_loss() -> None:
    enabled = {name: make_scaler(name, CPU).is_enabled() for name in ("fp16", "bf16", "fp32")}

    assert enabled == {"fp16": True, "bf16": False, "fp32": False}


def test_a_scaled_loss_makes_the_step_of_the_loss_itself() -> None:
    scaled, plain = (build_model(tiny_model("resnet18"), seed=0).eval() for _ in range(2))
    batch = eight_images()

    # the same precision on both sides, so that only the scaling differs
    loss = replace(stepper_of(scaled, "fp32"), scaler=make_scaler("fp16", CPU))(batch)
    expected = stepper_of(plain, "fp32")(batch)

    assert loss.item() == expected.item()
    for one, other in zip(scaled.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_step_whose_gradients_overflow_float16_is_not_taken_and_the_next_scale_is_half() -> None:
    model = build_model(tiny_model("resnet18"), seed=0).eval()
    before = [weight.detach().clone() for weight in model.parameters()]
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)

    loss = replace(stepper_of(model, "fp16"), scaler=scaler)(eight_images())

    assert torch.isfinite(loss)
    assert all(map(torch.equal, model.parameters(), before))
    assert scaler.get_scale() == 2.0**39


def eight_images() -> Batch:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    return Batch(images, torch.arange(8) % 2)


def stepper_of(model: ImageClassifier, precision: Resolved) -> Stepper:
    optimizer = make_optimizer(model, weight_decay=0.01)
    set_rates(optimizer, (1e-3, 1e-3, 1e-3), 0.9)
    return Stepper(model, optimizer, make_scaler("fp32", CPU), precision, 0.0)
