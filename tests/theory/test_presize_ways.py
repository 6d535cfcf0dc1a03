"""What three ways of presizing read, without a pixel."""

import numpy as np
import pytest

from ml.theory.batch_crop import CropBox
from ml.theory.presize_geometry import AugmentDraws, draw_augmentation, map_points
from ml.theory.presize_ways import Scene, Size

PHOTO_WH, STORED_WH = (1200, 900), (120, 90)


def draws(**changes: object) -> AugmentDraws:
    """The whole centre square of the stored photo, unchanged but for these."""
    still = {
        "crop_xywh": (15, 0, 90, 90),
        "flip": False,
        "rotate_deg": 0.0,
        "zoom": 1.0,
        "zoom_centre_xy": (0.5, 0.5),
        "warp_xy": (0.0, 0.0),
        "brightness": 0.5,
        "contrast": 1.0,
        "place_xy": (0.5, 0.5),
    }
    return AugmentDraws(**(still | changes))  # type: ignore[arg-type]  # one of each


def scene(
    changed: AugmentDraws, *, photo_wh: Size = PHOTO_WH, stored_wh: Size = STORED_WH
) -> Scene:
    """The photo stored at 90 px and seen at 45."""
    return Scene(photo_wh=photo_wh, stored_wh=stored_wh, presize=90, size=45, draws=changed)


BOOK = draws(rotate_deg=30.0, zoom=1.2, warp_xy=(-0.2, 0.2))
EVERYTHING = draws(
    crop_xywh=(20, 5, 80, 80),
    flip=True,
    rotate_deg=-12.0,
    zoom=1.3,
    zoom_centre_xy=(0.2, 0.9),
    warp_xy=(0.1, -0.15),
)


def test_without_changes_every_way_shows_the_centre_square() -> None:
    routes = scene(draws()).routes()

    corners = [(0, 0), (45, 45)]
    for way in ("single", "step_by_step"):
        shown = map_points(routes[way].matrix, corners)
        assert shown == pytest.approx(np.array([(150, 0), (1050, 900)]))
    # fastai puts the outermost centres, half a pixel inside, upon each other
    inner = map_points(routes["fastai"].matrix, [(0.5, 0.5), (44.5, 44.5)])
    assert inner == pytest.approx(np.array([(155, 5), (1045, 895)]))


@pytest.mark.parametrize("changed", [BOOK, EVERYTHING])
def test_step_by_step_is_the_same_map_as_the_single_sampling(changed: AugmentDraws) -> None:
    routes = scene(changed).routes()

    assert routes["step_by_step"].matrix == pytest.approx(routes["single"].matrix)


def test_fastais_map_of_the_whole_square_is_ours_but_for_its_corners() -> None:
    routes = scene(BOOK).routes()
    points = [(0.5, 0.5), (22.5, 22.5), (44.5, 10.5)]

    ours, fastais = (map_points(routes[way].matrix, points) for way in ("single", "fastai"))

    # a pixel of the picture is twenty pixels of the photo
    assert 1 < np.abs(fastais - ours).max() < 20


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        (draws(), (2, 2, 2)),
        (BOOK, (2, 2, 5)),
        (EVERYTHING, (2, 3, 5)),
        (draws(flip=True), (2, 2, 2)),
        (draws(crop_xywh=(15, 0, 60, 60)), (2, 2, 2)),
        (draws(crop_xywh=(15, 0, 60, 60), rotate_deg=1.0), (2, 3, 3)),
    ],
)
def test_interpolations_are_counted_and_mirrors_are_none(
    changed: AugmentDraws, counts: tuple[int, int, int]
) -> None:
    routes = scene(changed).routes()

    assert tuple(route.interpolations for route in routes.values()) == counts


def test_a_photo_that_is_stored_as_it_is_is_interpolated_once() -> None:
    small = scene(BOOK, photo_wh=STORED_WH).routes()

    # of a height of 90 px fastai's resize to 90 px changes nothing either
    assert [route.interpolations for route in small.values()] == [1, 1, 4]


def test_what_lies_inside_is_not_invented() -> None:
    routes = scene(draws(crop_xywh=(20, 5, 80, 80), flip=True)).routes()

    assert not any(route.invented().any() for route in routes.values())


def test_a_quarter_turn_of_a_wide_photo_invents_nothing_and_an_eighth_the_corners() -> None:
    quarter, eighth = (scene(draws(rotate_deg=angle)).routes() for angle in (90.0, 45.0))

    assert not quarter["step_by_step"].invented().any()
    # an octagon is left of the square; the single sampling reads on, left and right of it
    octagon = 2 * np.sqrt(2) - 2
    assert 1 - eighth["step_by_step"].invented().mean() == pytest.approx(octagon, abs=0.01)
    assert 1 - eighth["fastai"].invented().mean() == pytest.approx(octagon, abs=0.02)
    half = octagon + (1 - octagon) / 2
    assert octagon < 1 - eighth["single"].invented().mean() < half


def test_what_a_step_invents_stays_invented_when_it_is_moved_inside() -> None:
    bent_back = draws(rotate_deg=45.0, zoom=2.0, zoom_centre_xy=(0.0, 0.0))

    route = scene(bent_back).routes()["step_by_step"]

    corner = map_points(route.stages[-1].matrix, [(0.5, 0.5)])
    assert (corner < 1).all()
    assert route.invented()[0, 0]


def test_fastai_crops_whole_pixels_of_its_square_where_the_crop_was_drawn() -> None:
    assert scene(draws()).crop() is None
    assert scene(draws(crop_xywh=(20.2, 7.7, 80, 80))).crop() == CropBox((8, 5), (80, 80))
    assert scene(draws(crop_xywh=(35, 10, 80, 80))).crop() == CropBox((10, 10), (80, 80))


@pytest.mark.parametrize("seed", range(20))
def test_the_square_that_is_drawn_holds_the_crop_that_is_drawn(seed: int) -> None:
    stream = np.random.Generator(np.random.Philox(seed))
    drawn = draw_augmentation(stream, photo_wh=STORED_WH, min_scale=0.3)

    crop, square = scene(drawn).crop(), scene(drawn).square()

    assert crop is not None
    left, top = (
        edge / 900 * 90 + inner
        for edge, inner in zip(square.top_left_xy, crop.top_left_yx[::-1], strict=True)
    )
    # the square lies on whole pixels of the photo, the crop on whole pixels of the square
    assert (left, top) == pytest.approx(drawn.crop_xywh[:2], abs=0.7)
    assert crop.size_hw[0] == pytest.approx(drawn.crop_xywh[2], abs=0.5)
