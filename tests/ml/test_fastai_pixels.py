"""Pixels, matrices and light against figures recorded from fastai."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ml.augment import MEAN, STD
from ml.fastai_pixels import Padding, as_floats, cropped, lit, normalised, resized, sampled
from ml.presize_ways import stepwise
from ml.sampling import Matrix
from ml.theory.batch_crop import CropBox, centre_crop_box
from ml.theory.fidelity import high_frequency_energy
from ml.theory.presize_geometry import ResizeBox, affine, resize_box, warp
from ml.theory.presize_ways import Step
from tests.golden.figures import Case, cases

SAMPLED = ("affine", "affine_simple", "affine_pad", "downsample", "align_corners_false")
STILL = [np.eye(3)]


def batch_of(case: Case) -> Tensor:
    """The case's photo as a batch of one."""
    return as_floats(torch.tensor(case["input_chw_uint8"]).permute(1, 2, 0)[None])


def assert_close(found_1CHW: Tensor, expected: Any) -> None:  # noqa: ANN401  # whatever JSON holds
    """Every pixel within the tolerance of the recorded figures."""
    assert found_1CHW[0].numpy() == pytest.approx(np.array(expected), rel=0, abs=2e-5)


def maps(case: Case) -> tuple[Matrix, Matrix]:
    """The case's affine map and its perspective."""
    height, width = case["image_hw"]
    drawn = {key: value for key, value in case["params"].items() if value is not None}
    warp_xy = drawn.pop("warp_xy", (0.0, 0.0))
    drawn["flip"] = bool(drawn.get("flip", 0))
    return affine(**drawn, aspect_wh=(width, height)), warp(tuple(warp_xy))


def sample(case: Case) -> Tensor:
    """The case's photo under its maps."""
    straight, perspective = maps(case)
    size = case["size"]
    return sampled(
        batch_of(case),
        [straight],
        [perspective],
        size_hw=tuple(case["image_hw"]) if size is None else (size, size),
        padding=case["pad_mode"],
        align_corners=case["align_corners"],
    )


def energy_of(image_1CHW: Tensor) -> float:
    """The measure that presizing previews use, over all pixels."""
    image_HW3 = image_1CHW[0].permute(1, 2, 0).numpy()
    return high_frequency_energy(image_HW3, np.ones(image_HW3.shape[:2], np.bool_))


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "resize_pixels"))
def test_a_resized_photo_is_fastais(case: Case) -> None:
    photo = np.array(case["input_hwc_uint8"], np.uint8)
    box = resize_box(
        tuple(case["image_wh"]), case["size"], method=case["method"], place_xy=case["pcts"]
    )

    found = resized(photo, box, padding=case.get("pad_mode")).astype(int)

    assert np.abs(found - np.array(case["output_hwc_uint8"])).max() <= 1


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", *SAMPLED))
def test_the_pixels_under_an_affine_map_are_fastais(case: Case) -> None:
    assert_close(sample(case), case["expected"]["output_chw"])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "warp"))
def test_the_pixels_under_a_warp_are_fastais(case: Case) -> None:
    assert_close(sample(case), case["expected"]["output_chw"])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "random_resized_crop_gpu"))
def test_the_pixels_of_a_crop_are_fastais(case: Case) -> None:
    box = CropBox(tuple(case["crop_top_left_yx"]), tuple(case["crop_size_hw"]))

    assert_close(cropped(batch_of(case), box, case["size"]), case["expected"]["output_chw"])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "valid_batch"))
def test_the_pixels_of_validation_are_fastais(case: Case) -> None:
    height, width = case["image_hw"]
    crops = any("Crop" in step for step in case["transforms_in_order"])
    box = centre_crop_box((height, width)) if crops else CropBox((0, 0), (height, width))

    assert_close(cropped(batch_of(case), box, case["size"]), case["expected"]["output_chw"])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "lighting"))
def test_light_on_floats_is_fastais(case: Case) -> None:
    found = lit(batch_of(case), [case["brightness"] or 0.5], [case["contrast"] or 1.0])

    assert_close(found, case["expected"]["output_chw"])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "normalize"))
def test_normalised_values_are_fastais(case: Case) -> None:
    assert (case["mean"], case["std"]) == (list(MEAN), list(STD))
    assert_close(normalised(batch_of(case)), case["expected"]["output_chw"])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "figure"))
def test_one_sampling_keeps_more_detail_than_four_as_in_the_book(case: Case) -> None:
    size_hw = (case["size"], case["size"])
    turned, enlarged = affine(rotate_deg=case["rotate_deg"]), affine(zoom=case["zoom"])
    perspective, still = warp(tuple(case["warp_xy"])), np.eye(3)
    both = affine(rotate_deg=case["rotate_deg"], zoom=case["zoom"])

    combined = sampled(batch_of(case), [both], [perspective], size_hw=size_hw)
    steps = [Step(still, still), Step(turned, still), Step(enlarged, still)]
    in_steps = stepwise(batch_of(case), [*steps, Step(still, perspective)], size_hw=size_hw)

    expected = case["expected"]
    assert_close(combined, expected["combined_chw"])
    assert_close(in_steps, expected["stepwise_chw"])
    energy = expected["gradient_energy"]
    assert energy_of(combined) == pytest.approx(energy["combined"], rel=1e-4)
    assert energy_of(in_steps) == pytest.approx(energy["stepwise"], rel=1e-4)


def test_neutral_maps_and_light_change_nothing() -> None:
    images = torch.rand(2, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    still = STILL * 2

    same = lit(sampled(images, still, still, size_hw=(9, 7)), [0.5, 0.5], [1.0, 1.0])

    assert torch.allclose(same, images, atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "row"),
    [
        ("reflection", [20, 10, 0, 10, 20, 10, 0]),
        ("border", [0, 0, 0, 10, 20, 20, 20]),
        ("zeros", [0, 0, 0, 10, 20, 0, 0]),
    ],
)
def test_a_window_beyond_the_photo_is_padded_as_asked(padding: Padding, row: list[int]) -> None:
    photo = np.zeros((7, 3, 3), np.uint8) + np.array([0, 10, 20], np.uint8)[:, None]
    box = resize_box((3, 7), 7, method="pad")

    found = resized(photo, box, padding=padding)

    assert found[0, :, 0].tolist() == row
    assert (found == found[:1, :, :1]).all()


def test_a_window_beyond_the_photo_is_refused_without_padding() -> None:
    with pytest.raises(ValueError, match="reaches beyond a photo of 5 x 4 px"):
        resized(np.zeros((4, 5, 3), np.uint8), ResizeBox((4, 4), (2, 0), (8, 8)))
