from importlib import resources

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops import StochasticDepth

from ml.backbones import ImageClassifier, build_model
from ml.generate_architectures import TABLE, table
from ml.layer_groups import freeze_body, unfreeze
from ml.theory import architectures
from ml.theory.architectures import UnknownArchitectureError
from tests.ml.fakes import tiny_model

CLASSES = 7
SMALLEST_OF_EACH_FAMILY = {
    *("alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s"),
    *("googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2"),
    *("mobilenet_v3_small", "regnet_y_400mf", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1"),
    *("swin_t", "swin_v2_t", "vgg11", "vit_b_32"),
}
ALL = [
    pytest.param(name, marks=() if name in SMALLEST_OF_EACH_FAMILY else pytest.mark.slow)
    for name in architectures.names()
]


@pytest.fixture(scope="module", params=ALL)
def trainee(request: pytest.FixtureRequest) -> ImageClassifier:
    """A classifier with random weights whose every layer takes part in every step."""
    model = build_model(tiny_model(request.param, num_classes=CLASSES), seed=0).train()
    for module in model.modules():
        if isinstance(module, StochasticDepth):
            module.p = 0.0
    return model


def after_a_step(model: ImageClassifier) -> tuple[set[str], set[str]]:
    """Names of the weights that changed, and of those that got a gradient."""
    image_px = model.architecture.smallest_image_px
    torch.manual_seed(0)
    images = torch.randn(4, 3, image_px, image_px)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    logits = model(images.contiguous(memory_format=torch.channels_last))
    torch.autograd.backward(nn.functional.cross_entropy(logits, torch.arange(4)))
    graded = {name for name, weight in model.named_parameters() if weight.grad is not None}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0, foreach=False).step()
    model.zero_grad(set_to_none=True)
    weights = dict(model.named_parameters())
    return {name for name in before if not torch.equal(before[name], weights[name])}, graded


@pytest.mark.slow
def test_the_table_is_what_the_rules_and_torchvision_make() -> None:
    assert resources.files("ml.theory").joinpath(TABLE).read_text("utf-8") == table()


def test_every_classifier_of_torchvision_is_in_the_table() -> None:
    known = torchvision.models.list_models(module=torchvision.models)

    assert sorted(architectures.names()) == sorted(known)


def test_every_family_has_a_model_in_the_quick_tests() -> None:
    families = {architectures.get(name).family for name in architectures.names()}

    assert {architectures.get(name).family for name in SMALLEST_OF_EACH_FAMILY} == families


def test_an_unknown_name_gets_close_matches() -> None:
    with pytest.raises(UnknownArchitectureError, match="did you mean squeezenet1_1") as caught:
        architectures.get("squeezenet11")

    assert "squeezenet1_0" in caught.value.did_you_mean


def test_a_name_like_no_other_gets_all_names() -> None:
    with pytest.raises(UnknownArchitectureError, match=r"known are resnet18, .*, vit_h_14"):
        architectures.get("?")


def test_every_architecture_has_three_layer_groups() -> None:
    assert {architectures.get(name).layer_groups for name in architectures.names()} == {3}


@pytest.mark.parametrize(
    ("name", "image_px", "taken"),
    [
        *(("alexnet", 62, False), ("alexnet", 63, True), ("alexnet", 1024, True)),
        *(("vit_b_16", 223, False), ("vit_b_16", 224, True), ("vit_b_16", 225, False)),
    ],
)
def test_a_network_takes_all_sizes_from_its_smallest_or_its_only_one(
    name: str, image_px: int, taken: bool
) -> None:
    assert architectures.get(name).takes_image_px(image_px) is taken


def test_every_weight_set_by_name_suits_the_architecture_it_is_listed_for() -> None:
    assert "IMAGENET1K_FEATURES" not in architectures.get("vgg16").weights  # other colours
    assert "IMAGENET1K_SWAG_E2E_V1" not in architectures.get("vit_b_16").weights  # 384 px
    assert architectures.get("vit_h_14").default_weights == "IMAGENET1K_SWAG_LINEAR_V1"
    assert architectures.get("regnet_y_128gf").default_weights == "IMAGENET1K_SWAG_E2E_V1"


def test_the_smallest_image_gives_one_logit_for_each_class(trainee: ImageClassifier) -> None:
    image_px = trainee.architecture.smallest_image_px

    with torch.no_grad():
        assert trainee(torch.randn(2, 3, image_px, image_px)).shape == (2, CLASSES)


@pytest.mark.slow
def test_a_step_changes_the_head_and_the_norms_of_a_frozen_body(trainee: ImageClassifier) -> None:
    freeze_body(trainee, train_norm_layers=True)

    changed, graded = after_a_step(trainee)

    assert changed == graded
    assert changed == {n for n, weight in trainee.named_parameters() if weight.requires_grad}


@pytest.mark.slow
def test_a_step_changes_every_weight_of_an_unfrozen_model(trainee: ImageClassifier) -> None:
    unfreeze(trainee)

    changed, graded = after_a_step(trainee)

    assert changed == graded == {name for name, _ in trainee.named_parameters()}
