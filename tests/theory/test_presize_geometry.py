"""Crop boxes, affine and perspective maps and the combined matrix."""

from math import exp, log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.errors import InvalidInputError
from ml.theory.presize_geometry import (
    AugmentDraws,
    affine,
    centre_matrix,
    combined_matrix,
    draw_augmentation,
    map_points,
    resize_box,
    warp,
    warp_targets,
)
from tests.golden.figures import Case, cases

MAPS = ("affine", "affine_simple", "affine_pad", "warp", "downsample", "align_corners_false")
CORNERS = [[-1, -1], [1, -1], [-1, 1], [1, 1]]
SIZES = st.tuples(st.integers(50, 800), st.integers(50, 800))


@pytest.mark.golden
@pytest.mark.parametrize(
    "case", cases("presize_geometry", "resize_crop", "resize_pad", "resize_squish")
)
def test_the_window_is_the_one_that_fastai_takes(case: Case) -> None:
    size = case["size"] if isinstance(case["size"], int) else tuple(case["size"])

    for place, expected in case["expected"].items():
        x, y = place.split("_")[-2:] if place.startswith("train_pcts") else (0.5, 0.5)
        box = resize_box(
            tuple(case["image_wh"]), size, method=case["method"], place_xy=(float(x), float(y))
        )
        assert expected["pad_mode"] == case["pad_mode"]
        assert list(box.crop_size_wh) == expected["crop_size_wh"]
        assert list(box.top_left_xy) == expected["top_left_xy"]
        assert list(box.resize_to_wh) == expected["resize_to_wh"] == expected["output_wh"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "resize_float"))
def test_the_same_short_sides_lose_a_pixel_to_truncation(case: Case) -> None:
    losing = [
        side
        for side in range(1, 1500)
        if resize_box((side, 2000), case["size"]).crop_size_wh[0] != side
    ]

    assert losing == case["short_sides_losing_a_pixel"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", *MAPS))
def test_the_affine_matrix_is_fastais(case: Case) -> None:
    height, width = case["image_hw"]
    drawn = {key: value for key, value in case["params"].items() if value is not None}
    drawn.pop("warp_xy", None)
    drawn["flip"] = bool(drawn.get("flip", 0))

    found = affine(**drawn, aspect_wh=(width, height))

    assert found[:2] == pytest.approx(np.array(case["expected"]["theta_2x3"]), abs=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("presize_geometry", "warp"))
def test_the_warp_is_fastais(case: Case) -> None:
    expected, warp_xy = case["expected"], tuple(case["params"]["warp_xy"])
    theta = np.vstack([expected["theta_2x3"], [0, 0, 1]])

    found = warp(warp_xy)

    assert warp_targets(warp_xy) == pytest.approx(np.array(expected["warp_target_points"]))
    assert found.ravel()[:8] == pytest.approx(np.array(expected["warp_coeffs_8"]), abs=1e-6)
    assert map_points(found @ theta, CORNERS) == pytest.approx(
        np.array(expected["grid_corner_coords"]), abs=1e-5
    )


def test_a_rotation_by_90_degrees_takes_the_left_middle_to_the_top_middle() -> None:
    assert map_points(affine(rotate_deg=90), [[0, -1]]) == pytest.approx(
        np.array([[-1.0, 0.0]]), abs=1e-12
    )


def test_a_zoom_keeps_its_centre() -> None:
    zoomed = affine(zoom=2.0, zoom_centre_xy=(0.25, 1.0))

    assert map_points(zoomed, [[-0.5, 1.0]]) == pytest.approx(np.array([[-0.5, 1.0]]))


def test_no_warp_is_the_identity() -> None:
    assert warp((0.0, 0.0)) == pytest.approx(np.eye(3))


def test_without_changes_the_output_lies_on_the_crop_box() -> None:
    matrix = combined_matrix(photo_wh=(100, 80), size=10, crop_xywh=(5, 7, 40, 40))

    assert map_points(matrix, [[0, 0], [10, 10], [5, 0]]) == pytest.approx(
        np.array([[5.0, 7.0], [45.0, 47.0], [25.0, 7.0]])
    )


def test_a_flip_swaps_left_and_right_of_the_crop_box() -> None:
    matrix = combined_matrix(photo_wh=(100, 80), size=10, crop_xywh=(5, 7, 40, 40), flip=True)

    assert map_points(matrix, [[0, 0], [10, 0]]) == pytest.approx(
        np.array([[45.0, 7.0], [5.0, 7.0]])
    )


def test_validation_takes_the_centre_square_of_the_short_side() -> None:
    matrix = centre_matrix((300, 100), 50)

    assert map_points(matrix, [[0, 0], [50, 50]]) == pytest.approx(
        np.array([[100.0, 0.0], [200.0, 100.0]])
    )


def test_the_combined_matrix_is_the_chain_of_its_steps() -> None:
    draws: dict[str, Any] = {
        "flip": True,
        "rotate_deg": 7.0,
        "zoom": 1.05,
        "zoom_centre_xy": (0.2, 0.9),
    }
    point = np.array([[3.0, 4.0]])

    combined = combined_matrix(
        photo_wh=(90, 90), size=8, crop_xywh=(10, 20, 60, 60), warp_xy=(0.1, -0.2), **draws
    )

    normalised = map_points(affine(**draws), point / 4 - 1)
    warped = map_points(warp((0.1, -0.2)), normalised)
    assert map_points(combined, point) == pytest.approx(np.array([[40, 50]]) + 30 * warped)


@given(photo_wh=SIZES, seed=st.integers(0, 2**32), min_scale=st.floats(0.05, 1))
def test_every_draw_stays_within_its_bounds(
    photo_wh: tuple[int, int], seed: int, min_scale: float
) -> None:
    rng = np.random.default_rng(seed)

    draws = draw_augmentation(rng, photo_wh=photo_wh, min_scale=min_scale, flip=False)

    short = min(photo_wh)
    assert min_scale * (1 - 1e-9) <= (draws.crop_xywh[2] / short) ** 2 <= 1 + 1e-9
    assert not draws.flip
    assert abs(draws.rotate_deg) <= 10
    assert 1 <= draws.zoom <= 1.1
    assert max(map(abs, draws.warp_xy)) <= 0.2
    assert 0.4 <= draws.brightness <= 0.6
    assert 0.8 - 1e-9 <= draws.contrast <= 1.25 + 1e-9
    assert np.isfinite(draws.matrix(photo_wh, 224)).all()


def test_the_same_generator_state_gives_the_same_draws() -> None:
    first, second = (_draw(np.random.default_rng(7)) for _ in range(2))

    assert first == second


def test_bounds_do_not_change_how_many_numbers_are_drawn() -> None:
    wide, narrow = np.random.default_rng(7), np.random.default_rng(7)
    draw_augmentation(wide, photo_wh=(300, 200))
    draw_augmentation(narrow, photo_wh=(300, 200), max_rotate=0, max_warp=0, flip=False)

    assert wide.random() == narrow.random()


def test_steps_are_drawn_as_often_as_in_fastai() -> None:
    rng = np.random.default_rng(0)
    many = [_draw(rng) for _ in range(4000)]

    assert np.mean([draws.flip for draws in many]) == pytest.approx(0.5, abs=0.03)
    for drawn in (
        [draws.rotate_deg != 0 for draws in many],
        [draws.zoom != 1 for draws in many],
        [draws.warp_xy[0] != 0 for draws in many],
        [draws.warp_xy[1] != 0 for draws in many],
        [draws.brightness != 0.5 for draws in many],
        [draws.contrast != 1 for draws in many],
    ):
        assert np.mean(drawn) == pytest.approx(0.75, abs=0.03)
    logs = [log(draws.contrast) for draws in many]
    assert exp(np.mean(logs)) == pytest.approx(1.0, abs=0.01)


def _draw(rng: np.random.Generator) -> AugmentDraws:
    return draw_augmentation(rng, photo_wh=(300, 200))


@pytest.mark.parametrize("crop", [(0, 0, 10, 20), (-1, 0, 10, 10), (95, 0, 10, 10), (0, 0, 0, 0)])
def test_a_crop_box_that_is_no_square_inside_the_photo_is_refused(
    crop: tuple[float, float, float, float],
) -> None:
    with pytest.raises(InvalidInputError, match="the crop box"):
        combined_matrix(photo_wh=(100, 100), size=10, crop_xywh=crop)


@pytest.mark.parametrize(
    ("bounds", "field"),
    [
        ({"min_scale": 0.0}, "min_scale"),
        ({"max_zoom": 0.9}, "max_zoom"),
        ({"max_lighting": 1}, "max_lighting"),
    ],
)
def test_a_bound_outside_its_range_is_refused(bounds: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        draw_augmentation(np.random.default_rng(0), photo_wh=(10, 10), **bounds)

    assert refused.value.field == field
