import numpy as np
import pytest
import torch

from ml.augment import MEAN, STD, DrawKey, augmented_batch, centred_batch, lighting_tables
from ml.cache import Pixels
from ml.config import AugmentConfig
from tests.golden.figures import Case, cases

STILL = AugmentConfig(min_scale=1, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0, flip=False)


def augmented(
    pixels: Pixels, positions: list[int], key: DrawKey, augment: AugmentConfig
) -> torch.Tensor:
    return augmented_batch(
        pixels,
        np.array(positions),
        size=32,
        augment=augment,
        key=key,
        device=torch.device("cpu"),
    )


def test_a_batch_is_float_and_channels_last(pixels: Pixels) -> None:
    images = augmented(pixels, [0, 1, 2], DrawKey(0, 0), AugmentConfig())

    assert images.shape == (3, 3, 32, 32)
    assert images.dtype == torch.float32
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_photo_is_changed_alike_wherever_it_lies_in_a_batch(pixels: Pixels) -> None:
    alone = augmented(pixels, [4], DrawKey(7, 2), AugmentConfig())
    among = augmented(pixels, [1, 4, 0], DrawKey(7, 2), AugmentConfig())

    assert torch.equal(alone[0], among[1])


@pytest.mark.parametrize("key", [DrawKey(8, 2), DrawKey(7, 3)])
def test_another_seed_or_pass_changes_it_otherwise(pixels: Pixels, key: DrawKey) -> None:
    first = augmented(pixels, [4], DrawKey(7, 2), AugmentConfig())

    assert not torch.equal(first, augmented(pixels, [4], key, AugmentConfig()))


def test_without_changes_only_the_place_along_the_long_side_is_drawn(pixels: Pixels) -> None:
    drawn = augmented(pixels, [0], DrawKey(0, 0), STILL)
    centred = centred_batch(pixels, np.array([0]), size=32, device=torch.device("cpu"))

    assert drawn.mean().item() == pytest.approx(centred.mean().item(), abs=0.1)


def test_validation_takes_the_centre_square(pixels: Pixels) -> None:
    images = centred_batch(pixels, np.array([0]), size=48, device=torch.device("cpu"))
    centre_HW3 = pixels.photo(0)[:, 4:52] / 255

    expected = (centre_HW3 - np.array(MEAN)) / np.array(STD)
    assert images[0].permute(1, 2, 0).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "lighting"))
def test_light_is_fastais(case: Case) -> None:
    brightness = case["brightness"] or 0.5
    contrast = case["contrast"] or 1.0
    levels_3HW = np.array(case["input_chw_uint8"])
    table_3T = lighting_tables([brightness], [contrast])[0]

    lit_3T = table_3T * np.array(STD)[:, None] + np.array(MEAN)[:, None]
    drawn = np.stack([lit_3T[channel][levels_3HW[channel]] for channel in range(3)])

    assert drawn == pytest.approx(np.array(case["expected"]["output_chw"]), abs=2e-6)
