"""The crop box of a batch."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.batch_crop import CropBox, centre_crop_box, draw_crop_box
from ml.theory.errors import InvalidInputError
from tests.golden.figures import Case, cases

FASTAI_RATIO = (3 / 4, 4 / 3)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "rrc_box"))
def test_the_box_of_a_batch_is_fastais(case: Case) -> None:
    picture_hw, bounds = tuple(case["image_hw"]), dict(case["args"])
    ratio = tuple(bounds.get("ratio", FASTAI_RATIO))

    if case["split_idx"] == 1:
        box = centre_crop_box(picture_hw, ratio=ratio, scale=bounds.get("valid_scale", 1.0))
    else:
        rng = Random(case["seed"])  # noqa: S311  # as recorded
        box = draw_crop_box(rng, picture_hw, min_scale=bounds["min_scale"], ratio=ratio)

    assert list(box.top_left_yx) == case["crop_top_left_yx"]
    assert list(box.size_hw) == case["crop_size_hw"]


@given(seed=st.integers(0, 2**32), height=st.integers(1, 500), width=st.integers(1, 500))
def test_every_box_lies_inside_the_picture(seed: int, height: int, width: int) -> None:
    rng = Random(seed)  # noqa: S311  # a picture is no secret

    box = draw_crop_box(rng, (height, width), min_scale=0.3, ratio=FASTAI_RATIO)

    (top, left), (high, wide) = box.top_left_yx, box.size_hw
    assert 0 <= top <= height - high
    assert 0 <= left <= width - wide
    assert min(high, wide) >= 1


@pytest.mark.parametrize(
    ("picture_hw", "box"),
    [
        ((30, 44), CropBox((0, 7), (30, 30))),
        ((44, 30), CropBox((7, 0), (30, 30))),
        ((30, 30), CropBox((0, 0), (30, 30))),
    ],
)
def test_the_centre_box_is_the_largest_square(picture_hw: tuple[int, int], box: CropBox) -> None:
    assert centre_crop_box(picture_hw) == box


@pytest.mark.parametrize(
    ("bounds", "field"),
    [
        ({"min_scale": 0.0}, "min_scale"),
        ({"min_scale": 0.9, "max_scale": 0.5}, "min_scale"),
        ({"min_scale": 0.5, "ratio": (2.0, 1.0)}, "ratio"),
    ],
)
def test_a_bound_that_makes_no_box_is_refused(bounds: dict[str, Any], field: str) -> None:
    rng = Random(0)  # noqa: S311  # a picture is no secret

    with pytest.raises(InvalidInputError) as refused:
        draw_crop_box(rng, (10, 10), **bounds)

    assert refused.value.field == field


def test_a_scale_that_makes_no_box_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="scale is 0"):
        centre_crop_box((10, 10), scale=0)
