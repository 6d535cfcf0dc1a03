"""Which photos train, validate and test, and when that does not suffice."""

import pytest

from ml.theory.errors import InvalidInputError
from ml.theory.parts import Part, folder_part, part_named, random_parts, shortage


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("train/pug/1.jpg", "train"),
        ("valid/1.jpg", "valid"),
        ("val/1.jpg", "valid"),
        ("test/1.jpg", "test"),
        ("training/1.jpg", "train"),
        ("validation/1.jpg", "valid"),
        ("Train/1.jpg", None),
        ("pug/train/1.jpg", None),
        ("train", None),
    ],
)
def test_the_first_folder_names_the_part(path: str, part: Part | None) -> None:
    assert folder_part(path) == part


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (("train", "training"), "train"),
        (("valid", "validation", "val", "dev"), "valid"),
        (("test", "testing", "eval", "evaluation"), "test"),
    ],
)
def test_parts_have_the_names_that_hugging_face_datasets_know(
    names: tuple[str, ...], part: Part
) -> None:
    assert {part_named(name) for name in names} == {part}


@pytest.mark.parametrize("name", ["", "Train", "holdout", "train "])
def test_no_other_name_is_a_part(name: str) -> None:
    with pytest.raises(InvalidInputError, match="use one of train, training, valid"):
        part_named(name)


@pytest.mark.parametrize("stratify", [True, False])
def test_a_share_of_the_photos_validates_and_the_rest_trains(stratify: bool) -> None:
    parts = random_parts(["a", "b"] * 5, 0.2, 1, stratify=stratify)

    assert (parts.count("train"), parts.count("valid")) == (8, 2)


def test_a_stratified_class_of_one_photo_trains() -> None:
    assert random_parts(["a", "b"], 0.9, 1, stratify=True) == ("train", "train")


def test_two_photos_of_two_classes_suffice() -> None:
    assert shortage(["a", "b"], ["train", "train"]) is None


@pytest.mark.parametrize(
    ("labels", "parts", "code", "message"),
    [
        (["a", "b"], [None, None], "too_few_images", "no photo lies in a folder named train"),
        (["a", "a"], ["train", "train"], "too_few_classes", "all 2 photos have the one label 'a'"),
        (["a", "b"], ["train", None], "too_few_classes", "all 1 photos have the one label 'a'"),
        (["a", "b"], ["train", "valid"], "too_few_images", "of 2 photos 1 would be left to train"),
    ],
)
def test_what_is_missing_is_said(
    labels: list[str], parts: list[Part | None], code: str, message: str
) -> None:
    lack = shortage(labels, parts)

    assert lack is not None
    assert lack.code == code
    assert lack.message.startswith(message)
