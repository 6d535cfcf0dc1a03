from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from jobs.sources.sample import CLASSES
from ml.sample.builds import BUILDS
from ml.sample.cats import POSES, cat_parts
from ml.sample.photos import DRAWABLE_CLASSES, draw_photo, write_photo


def pixels(drawn_class: str, seed: int) -> NDArray[np.uint8]:
    return np.asarray(draw_photo(drawn_class, seed))


def width_over_height(build: str) -> float:
    """The proportions of a sitting cat's torso, the widest part painted in fur."""
    outlines = [part.outline for part in cat_parts(BUILDS[build], "sitting", generator())]
    torso = max(outlines, key=len)
    width, height = np.ptp(torso, axis=0)
    return float(width / height)


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def test_every_planned_class_can_be_drawn_and_no_other() -> None:
    assert set(CLASSES) == set(DRAWABLE_CLASSES)


def test_one_seed_always_gives_the_same_pixels() -> None:
    assert np.array_equal(pixels("round_tabby", 7), pixels("round_tabby", 7))


@pytest.mark.parametrize(
    ("drawn_class", "seed"), [("round_tabby", 8), ("slim_tabby", 7), ("round_spotted", 7)]
)
def test_another_seed_build_or_coat_gives_another_photo(drawn_class: str, seed: int) -> None:
    assert not np.array_equal(pixels("round_tabby", 7), pixels(drawn_class, seed))


def test_photos_are_rgb_and_of_the_two_orientations() -> None:
    photos = [draw_photo("slim_patched", seed) for seed in range(12)]

    assert {photo.size for photo in photos} == {(500, 375), (375, 500)}
    assert {photo.mode for photo in photos} == {"RGB"}


@pytest.mark.parametrize("drawn_class", DRAWABLE_CLASSES)
def test_no_photo_is_blank_or_burnt_out(drawn_class: str) -> None:
    for seed in range(4):
        photo = pixels(drawn_class, seed)
        assert photo.std() > 15
        assert (photo == 255).all(axis=2).mean() < 0.2


def test_a_round_cat_is_broader_for_its_height_than_a_slim_one() -> None:
    assert width_over_height("round") > 1.5 * width_over_height("slim")


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("pose", POSES)
def test_a_cat_stands_on_the_ground(build: str, pose: str) -> None:
    coat = [p for p in cat_parts(BUILDS[build], pose, generator()) if p.grain != "rings"]

    lowest = max(part.outline[:, 1].max() for part in coat)

    assert lowest == pytest.approx(0.0, abs=0.03)


def test_an_unknown_class_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="cannot draw 'round_dog'; drawable: round_patched, "):
        draw_photo("round_dog", 1)


def test_a_written_photo_is_a_whole_jpeg_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "slim_tabby_3.jpg"

    assert write_photo(path, drawn_class="slim_tabby", seed=3) == path

    with Image.open(path) as photo:
        assert photo.format == "JPEG"
        assert photo.convert("RGB").size == draw_photo("slim_tabby", 3).size
    assert list(tmp_path.iterdir()) == [path]


def test_a_photo_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    taken = tmp_path / "slim_tabby_3.jpg"
    taken.mkdir()

    with pytest.raises(OSError, match="slim_tabby_3"):
        write_photo(taken, drawn_class="slim_tabby", seed=3)

    assert list(tmp_path.iterdir()) == [taken]
