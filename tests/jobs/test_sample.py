import re
from collections import Counter

import pytest

from jobs.sources.sample import CLASSES, sample_plan


def test_the_plan_has_sixty_photos_under_each_of_six_names() -> None:
    named = Counter(photo.named_class for photo in sample_plan())

    assert named == dict.fromkeys(CLASSES, 60)


def test_the_pattern_of_the_tutorial_reads_the_named_class_from_each_name() -> None:
    for photo in sample_plan(photos_per_class=12):
        matched = re.match(r"^(.+)_\d+\.jpg$", photo.name)
        assert matched is not None
        assert matched[1] == photo.named_class


def test_each_class_is_numbered_from_one_without_gaps() -> None:
    names = {photo.name for photo in sample_plan(photos_per_class=10)}

    assert names == {f"{name}_{number}.jpg" for name in CLASSES for number in range(1, 11)}


def test_photos_come_in_the_order_of_their_names() -> None:
    names = [photo.name for photo in sample_plan(photos_per_class=11)]

    assert names == sorted(names)


def test_three_in_a_hundred_are_mislabelled_and_every_class_has_some() -> None:
    """3 % of 360 is 10.8, so 11 over six classes: two each, but one in the last."""
    wrong = Counter(photo.named_class for photo in sample_plan() if photo.is_mislabelled)

    assert wrong == {**dict.fromkeys(CLASSES, 2), CLASSES[-1]: 1}


def test_a_mislabelled_photo_shows_another_coat_than_its_name_says() -> None:
    for photo in sample_plan():
        same_coat = photo.drawn_class.split("_")[1] == photo.named_class.split("_")[1]
        assert photo.is_mislabelled is not same_coat


def test_the_same_seed_plans_the_same_photos_and_another_seed_others() -> None:
    assert sample_plan(seed=1) == sample_plan(seed=1)
    assert sample_plan(seed=1) != sample_plan(seed=2)


def test_no_two_photos_are_drawn_alike() -> None:
    assert len({photo.seed for photo in sample_plan()}) == 360


def test_a_plan_without_photos_is_refused() -> None:
    with pytest.raises(ValueError, match="photos_per_class must be at least 1, not 0"):
        sample_plan(photos_per_class=0)
