from collections.abc import Callable

import pytest

from ml.config import AugmentConfig, DataConfig, FineTuneConfig, LrRangeConfig, ModelConfig
from ml.theory.architectures import UnknownArchitectureError

MODEL = ModelConfig(architecture="resnet18", weights="none", num_classes=2)
DATA = DataConfig()


def fine_tune(peaks: tuple[float, ...]) -> FineTuneConfig:
    return FineTuneConfig(
        model=MODEL, data=DATA, epochs=1, frozen_peaks=peaks, unfrozen_peaks=peaks
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AugmentConfig(min_scale=0), "min_scale is 0; it must be above 0"),
        (lambda: AugmentConfig(max_warp=0.5), "max_warp is 0.5; it must be 0 to below 0.5"),
        (lambda: DataConfig(presize=100, size=224), r"at least size \(224 px\)"),
        (lambda: DataConfig(batch_size=1), "batch_size is 1; it must be from 2"),
        (lambda: LrRangeConfig(model=MODEL, data=DATA, end_lr=1e-8), "above start_lr"),
        (
            lambda: LrRangeConfig(model=MODEL, data=DataConfig(size=16)),
            "at least 32 px for resnet18",
        ),
        (lambda: fine_tune((1e-3,)), "it must be 3 finite rates above 0"),
        (lambda: fine_tune((1e-3, float("nan"), 1e-3)), "3 finite rates above 0"),
        (
            lambda: ModelConfig(architecture="resnet18", weights="V9", num_classes=2),
            "one of DEFAULT, none, IMAGENET1K_V1, or a path",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_misspelt_architecture_gets_a_suggestion() -> None:
    with pytest.raises(UnknownArchitectureError, match="did you mean resnet18") as caught:
        ModelConfig(architecture="resnet81", weights="none", num_classes=2)

    assert caught.value.did_you_mean[0] == "resnet18"
