from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ml.augment import DrawKey, centred_batch
from ml.batch_images import training_images, validation_images
from ml.cache import Pixels
from ml.config import AugmentConfig
from ml.fastai_pixels import as_floats, cropped, normalised
from ml.originals import Originals
from ml.photos import LabelledPhoto
from ml.theory.batch_crop import centre_crop_box
from ml.theory.presize_geometry import LIKELY
from tests.golden.figures import Case, cases
from tests.ml.fakes import make_photos

CPU = torch.device("cpu")
STILL = AugmentConfig(min_scale=1, max_rotate=0, max_zoom=1, max_lighting=0, max_warp=0, flip=False)


@pytest.fixture
def originals(train: list[LabelledPhoto]) -> Iterator[Originals]:
    opened = Originals(train, side=48, threads=2)
    yield opened
    opened.close()


def changed(
    pixels: Pixels,
    positions: list[int],
    *,
    key: DrawKey,
    augment: AugmentConfig | None = None,
) -> torch.Tensor:
    return training_images(
        pixels,
        np.array(positions),
        size=32,
        augment=augment or AugmentConfig(),
        key=key,
        device=CPU,
    )


def test_original_photos_make_the_same_batch_again(originals: Originals) -> None:
    first, again = (changed(originals, [4, 0, 7], key=DrawKey(7, 2)) for _ in range(2))

    assert first.shape == (3, 3, 32, 32)
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(first, again)


@pytest.mark.parametrize("key", [DrawKey(8, 2), DrawKey(7, 3)])
def test_another_seed_or_pass_changes_original_photos_otherwise(
    originals: Originals, key: DrawKey
) -> None:
    first = changed(originals, [4], key=DrawKey(7, 2))

    assert not torch.equal(first, changed(originals, [4], key=key))


def test_one_crop_is_drawn_for_a_whole_batch(originals: Originals) -> None:
    crop_only = replace(STILL, min_scale=0.1)

    among = changed(originals, [4, 1, 1, 0], key=DrawKey(7, 2), augment=crop_only)
    alone = changed(originals, [4], key=DrawKey(7, 2), augment=crop_only)
    other_first = changed(originals, [0, 4], key=DrawKey(7, 2), augment=crop_only)

    assert torch.equal(among[0], alone[0])
    assert torch.equal(among[1], among[2])
    assert not torch.equal(other_first[1], alone[0])


def test_without_changes_only_the_place_of_the_square_is_drawn(originals: Originals) -> None:
    drawn = changed(originals, [0], key=DrawKey(7, 2), augment=STILL)

    candidates = []
    for left in range(9):
        square_1HW3 = torch.from_numpy(originals.photo(0)[None, :, left : left + 48].copy())
        whole = centre_crop_box((48, 48))
        candidates.append(normalised(cropped(as_floats(square_1HW3), whole, 32)))
    assert any(torch.allclose(drawn, candidate, atol=1e-4) for candidate in candidates)


def test_validation_of_original_photos_is_the_centre_square_resampled(
    originals: Originals,
) -> None:
    images = validation_images(originals, np.array([2, 0]), size=32, device=CPU)

    square_1HW3 = torch.from_numpy(originals.photo(0)[None, :, 4:52].copy())
    expected = normalised(cropped(as_floats(square_1HW3), centre_crop_box((48, 48)), 32))
    assert torch.allclose(images[1:], expected, atol=1e-5)


def test_stored_pixels_are_sampled_once_as_ever(pixels: Pixels) -> None:
    positions = np.array([3, 1])

    images = validation_images(pixels, positions, size=32, device=CPU)

    assert torch.equal(images, centred_batch(pixels, positions, size=32, device=CPU))


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "pipeline"))
def test_the_steps_of_a_batch_and_their_ranges_are_fastais(case: Case) -> None:
    ours, mult = AugmentConfig(), case["args"].get("mult", 1.0)
    steps: dict[str, Any] = {step["type"]: step for step in case["after_batch"]}
    names = [name.replace("Dihedral", "Flip") for name in steps]
    crop = ["RandomResizedCropGPU"] if "min_scale" in case["args"] else []

    assert names == ["IntToFloatTensor", "Flip", *crop, "Brightness", "Normalize"]
    turned = steps.get("Flip") or steps["Dihedral"]
    mirror, rotate, zoom = turned["affine"]
    assert mirror["p"] == 0.5
    assert (rotate["max_deg"], rotate["p"]) == (mult * ours.max_rotate, LIKELY)
    assert (zoom["min_zoom"], zoom["max_zoom"], zoom["p"]) == (1, ours.max_zoom, LIKELY)
    assert [step["magnitude"] for step in turned["coord"]] == [mult * ours.max_warp]
    assert [step["p"] for step in turned["coord"]] == [LIKELY]
    how = (turned["mode"], turned["pad_mode"], turned["align_corners"])
    assert how == ("bilinear", "reflection", True)
    for light in steps["Brightness"]["fs"]:
        assert (light["max_lighting"], light["p"]) == (mult * ours.max_lighting, LIKELY)
    if crop:
        drawn = steps[crop[0]]
        assert (drawn["min_scale"], drawn["max_scale"]) == (ours.min_scale, 1)
        assert (drawn["valid_scale"], drawn["mode"]) == (1, "bilinear")
        assert drawn["ratio"] == [1, 1]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "pipeline"))
def test_only_the_last_sampling_resizes_and_only_light_spares_validation(case: Case) -> None:
    steps: dict[str, Any] = {step["type"]: step for step in case["after_batch"]}
    turned, size = steps.get("Flip") or steps["Dihedral"], case["args"].get("size")
    crop = steps.get("RandomResizedCropGPU")

    assert {name: step["size"] for name, step in steps.items() if step["size"] is not None} == (
        {"RandomResizedCropGPU": [size, size]} if crop else {turned["type"]: size} if size else {}
    )
    parts = {name: step["split_idx_at_class"] for name, step in steps.items()}
    assert parts == {name: 0 if name == "Brightness" else None for name in steps}
    for step in turned["affine"]:
        assert {step[key] for key in step if key.startswith("draw")} == {None}
        assert step["batch"] is False


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "pipeline"))
def test_a_batch_has_the_shape_of_fastais(case: Case, tmp_path: Path) -> None:
    originals = Originals(make_photos(tmp_path, 2), side=46, threads=1)
    size = case["args"].get("size", 46)
    augment = AugmentConfig(min_scale=case["args"].get("min_scale", 1.0))

    positions = np.arange(case["train_batch_shape"][0])
    images = training_images(
        originals, positions, size=size, augment=augment, key=DrawKey(0, 0), device=CPU
    )
    one = validation_images(originals, positions[:1], size=size, device=CPU)
    originals.close()

    assert list(images.shape) == case["train_batch_shape"]
    assert list(one.shape) == case["valid_batch_shape"]
