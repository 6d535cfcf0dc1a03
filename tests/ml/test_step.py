from dataclasses import replace

import pytest
import torch

from ml.backbones import ImageClassifier, build_model
from ml.layer_groups import freeze_body
from ml.optimizer import make_optimizer, set_rates
from ml.step import Batch, Stepper, make_scaler
from tests.ml.fakes import tiny_model

CPU = torch.device("cpu")


def eight_images() -> Batch:
    torch.manual_seed(0)
    labels = torch.arange(8) % 2
    images = torch.randn(8, 3, 32, 32) + labels[:, None, None, None]
    return Batch(images.contiguous(memory_format=torch.channels_last), labels)


def stepper_of(model: ImageClassifier, *, label_smoothing: float = 0.0) -> Stepper:
    optimizer = make_optimizer(model, weight_decay=0.01)
    set_rates(optimizer, (1e-3, 1e-3, 1e-3), 0.9)
    return Stepper(model, optimizer, make_scaler("fp32", CPU), "fp32", label_smoothing)


@pytest.mark.parametrize("architecture", ["squeezenet1_1", "resnet18"])
@pytest.mark.slow
def test_a_few_steps_lower_the_loss_on_eight_images(architecture: str) -> None:
    model = build_model(tiny_model(architecture), seed=0).train()
    stepper, batch = stepper_of(model), eight_images()

    losses = [stepper(batch).item() for _ in range(6)]

    assert losses[-1] < losses[0] / 2


def test_a_frozen_body_keeps_its_convolutions_while_its_norms_move() -> None:
    model = build_model(tiny_model("resnet18"), seed=0).train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    freeze_body(model, train_norm_layers=True)

    stepper_of(model)(eight_images())

    after = model.state_dict()
    assert torch.equal(after["body.conv1.weight"], before["body.conv1.weight"])
    assert not torch.equal(after["body.bn1.weight"], before["body.bn1.weight"])
    assert not torch.equal(after["body.bn1.running_mean"], before["body.bn1.running_mean"])
    assert not torch.equal(after["head.8.weight"], before["head.8.weight"])


def test_running_statistics_move_even_when_norms_are_frozen() -> None:
    model = build_model(tiny_model("resnet18"), seed=0).train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    freeze_body(model, train_norm_layers=False)

    stepper_of(model)(eight_images())

    after = model.state_dict()
    assert torch.equal(after["body.bn1.weight"], before["body.bn1.weight"])
    assert not torch.equal(after["body.bn1.running_mean"], before["body.bn1.running_mean"])


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v2", "vit_b_16", "swin_t"])
@pytest.mark.slow
def test_a_body_whose_norms_are_frozen_too_is_not_gone_back_through(architecture: str) -> None:
    """No step of the body is recorded, and nothing that it computes is kept for the way back."""
    model = build_model(tiny_model(architecture), seed=0).train()
    freeze_body(model, train_norm_layers=False)
    px = 224 if architecture == "vit_b_16" else 32
    features: list[torch.Tensor] = []
    kept_by_the_body: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not features:
            kept_by_the_body.append(tensor)
        return tensor

    model.body.register_forward_hook(lambda module, args, out: features.append(out))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = stepper_of(model)(Batch(torch.randn(2, 3, px, px), torch.tensor([0, 1])))

    assert features[0].grad_fn is None
    assert not features[0].requires_grad
    assert kept_by_the_body == []
    assert torch.isfinite(loss)


def test_a_body_whose_norms_train_is_gone_back_through() -> None:
    model = build_model(tiny_model("resnet18"), seed=0).train()
    freeze_body(model, train_norm_layers=True)
    features: list[torch.Tensor] = []
    model.body.register_forward_hook(lambda module, args, out: features.append(out))

    stepper_of(model)(eight_images())

    assert features[0].grad_fn is not None


def test_gradients_are_gone_after_a_step() -> None:
    model = build_model(tiny_model(), seed=0).train()

    stepper_of(model)(eight_images())

    assert all(parameter.grad is None for parameter in model.parameters())


def test_smoothed_labels_cost_more_when_the_model_is_sure() -> None:
    model = build_model(tiny_model(), seed=0).eval()
    logits = torch.tensor([[9.0, 0.0]])

    plain = torch.nn.functional.cross_entropy(logits, torch.tensor([0]))
    smoothed = torch.nn.functional.cross_entropy(logits, torch.tensor([0]), label_smoothing=0.1)

    assert smoothed > plain
    assert stepper_of(model, label_smoothing=0.1).label_smoothing == 0.1


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 4.0])])
def test_batches_together_make_the_step_of_one_large_batch(weights: torch.Tensor | None) -> None:
    # without norm layers and in evaluation mode, so that no photo knows of the others
    whole = eight_images()
    large, small = (build_model(tiny_model("squeezenet1_1"), seed=0).eval() for _ in range(2))
    # three photos of class 0 and one of class 1 come first
    at = torch.tensor([0, 2, 4, 1, 6, 3, 5, 7])
    share = 0.5 if weights is None else (3 + 4) / (4 + 16)
    parts = [
        Batch(whole.images[at[:4]], whole.labels[at[:4]], share),
        Batch(whole.images[at[4:]], whole.labels[at[4:]], 1 - share),
    ]

    loss = replace(stepper_of(large), class_weights=weights)(whole)
    found = replace(stepper_of(small), class_weights=weights).together(iter(parts))

    assert found.item() == pytest.approx(loss.item(), rel=1e-5)
    for one, other in zip(large.parameters(), small.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
