"""Imports on a real worker: folders with files that are no photos, and names that are odd."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.settings import Settings
from tests.worker.conftest import import_folder
from tests.worker.photos import write_photos
from worker.items import Item, read_items
from worker.supervisor import Supervisor

Import = Callable[..., Dataset]

BY_COLOUR = {"rule": "regex", "pattern": "^(red|blue)"}
SKIPPING = {**BY_COLOUR, "unmatched": "skip"}
ALL_BUT_ONE = 0.99


@pytest.fixture
def folder(quick: Settings) -> Path:
    """A folder of twelve tiny photos in two classes."""
    folder = quick.dataset_roots[0] / "mixed"
    write_photos(folder, per_class=6)
    return folder


@pytest.fixture
def imported(database: Database, work: Callable[[str], Supervisor], folder: Path) -> Import:
    """Imports the folder, tolerating unreadable files, as far as it got."""

    def run(**changes: object) -> Dataset:
        asked = {"labels": BY_COLOUR, "max_unreadable_fraction": ALL_BUT_ONE, **changes}
        return import_folder(database, work, folder, **asked)

    return run


def test_a_file_that_is_no_photo_is_left_out_and_named_with_its_true_reason(
    imported: Import, folder: Path
) -> None:
    (folder / "red_text.jpg").write_text("no photo")
    (folder / "red_empty.jpg").touch()
    cut = (folder / "red_1.jpg").read_bytes()[:500]
    (folder / "red_cut.jpg").write_bytes(cut)
    (folder / "red_phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    os.mkfifo(folder / "red_pipe.jpg")

    dataset = imported()

    assert dataset.state == "ready", dataset.error
    reasons = _unreadable(dataset)
    assert set(reasons) == {
        *("red_text.jpg", "red_empty.jpg", "red_cut.jpg", "red_phone.heic", "red_pipe.jpg")
    }
    assert "not an image" in reasons["red_text.jpg"]
    assert "empty" in reasons["red_empty.jpg"]
    assert "truncated" in reasons["red_cut.jpg"]
    assert "HEIC" in reasons["red_phone.heic"]
    assert "not a regular file" in reasons["red_pipe.jpg"]
    assert _counts(dataset) == (17, 12)
    warning = _report(dataset)["warnings"][0]
    assert (warning["code"], warning["count"]) == ("unreadable_images", 5)
    assert ["red_cut.jpg"] in warning["examples"]


def test_a_link_out_of_the_roots_is_never_read(
    imported: Import, folder: Path, tmp_path: Path
) -> None:
    write_photos(tmp_path / "outside", per_class=1)
    (folder / "red_out.jpg").symlink_to(tmp_path / "outside" / "red_0.jpg")
    (folder / "red_none.jpg").symlink_to(folder / "nothing.jpg")
    (folder / "red_self.jpg").symlink_to(folder / "red_self.jpg")
    (folder / "red_inside.jpg").symlink_to(folder / "red_1.jpg")

    dataset = imported()

    assert set(_unreadable(dataset)) == {"red_out.jpg", "red_none.jpg", "red_self.jpg"}
    assert all("inside the allowed roots" in each for each in _unreadable(dataset).values())
    assert _counts(dataset) == (16, 13)


def test_names_of_any_characters_are_kept_as_they_are(
    imported: Import, folder: Path, artifacts: Artifacts
) -> None:
    odd = ["red'\".jpg", "red\nline\t.jpg", "red%41%.jpg", "red ä漢😀.jpg", "red\x1b[31m.jpg"]
    for name in odd:
        shutil.copy(folder / "red_0.jpg", folder / name)

    dataset = imported()

    assert dataset.state == "ready", dataset.error
    items = _items(dataset, artifacts)
    assert {item.path for item in items} >= set(odd)
    assert all(item.usable for item in items)


@pytest.mark.parametrize("labels", [BY_COLOUR, SKIPPING])
def test_a_name_that_is_not_utf8_is_left_out_and_shown_escaped(
    imported: Import, folder: Path, artifacts: Artifacts, labels: dict[str, str]
) -> None:
    below = os.fsencode(folder) + b"/\xff"
    os.mkdir(below)
    shutil.copy(folder / "red_0.jpg", os.fsdecode(below + b"/red_7.jpg"))

    dataset = imported(labels=labels)

    assert dataset.state == "ready", dataset.error
    assert _unreadable(dataset) == {"\\xff/red_7.jpg": "its path is not in UTF-8; rename it"}
    assert len({item.item_id for item in _items(dataset, artifacts)}) == 13


def test_a_skipped_name_that_is_not_utf8_is_counted(imported: Import, folder: Path) -> None:
    shutil.copy(folder / "red_0.jpg", os.fsdecode(os.fsencode(folder) + b"/red\xfe.jpg"))

    dataset = imported(labels=SKIPPING)

    assert dataset.state == "ready", dataset.error
    assert _report(dataset)["unmatched"] == {"count": 1, "examples": ["red\\xfe.jpg"]}


@pytest.mark.parametrize("tolerated", [0.5, 1.0])
def test_without_a_readable_photo_the_import_fails_whatever_is_tolerated(
    imported: Import, folder: Path, tolerated: float
) -> None:
    for photo in folder.iterdir():
        photo.write_text("no photo")

    dataset = imported(max_unreadable_fraction=tolerated)

    error = _error(dataset)
    assert error["code"] == "unreadable_images"
    assert "12 of 12 files cannot be read ('blue_0.jpg': not an image" in error["message"]
    assert "max_unreadable_fraction" not in error["hint"]


def test_more_unreadable_files_than_tolerated_fail_the_import(
    imported: Import, folder: Path
) -> None:
    (folder / "red_0.jpg").write_text("no photo")

    dataset = imported(max_unreadable_fraction=0.05)

    error = _error(dataset)
    assert error["code"] == "unreadable_images"
    assert "1 of 12 files cannot be read ('red_0.jpg'" in error["message"]
    assert "max_unreadable_fraction (now 0.05)" in error["hint"]


def test_a_class_whose_photos_all_fail_leaves_too_few_classes(
    imported: Import, folder: Path
) -> None:
    for photo in folder.glob("red_*"):
        photo.write_text("no photo")

    error = _error(imported())

    assert error["code"] == "too_few_classes"
    assert "'blue'" in error["message"]


def test_a_folder_that_was_emptied_before_its_import_has_too_few_photos(
    imported: Import, folder: Path
) -> None:
    for photo in folder.iterdir():
        photo.unlink()

    assert _error(imported())["code"] == "too_few_images"


def test_a_folder_that_vanished_before_its_import_is_unreachable(
    imported: Import, folder: Path
) -> None:
    shutil.rmtree(folder)

    assert _error(imported())["code"] == "source_unreachable"


def test_a_folder_that_became_a_link_out_of_the_roots_is_forbidden(
    imported: Import, folder: Path, tmp_path: Path
) -> None:
    shutil.rmtree(folder)
    write_photos(tmp_path / "outside", per_class=1)
    folder.symlink_to(tmp_path / "outside")

    assert _error(imported())["code"] == "source_forbidden"


def test_names_that_changed_before_the_import_have_no_label(imported: Import, folder: Path) -> None:
    (folder / "red_0.jpg").rename(folder / "green_0.jpg")

    error = _error(imported())

    assert error["code"] == "labels_unmatched"
    assert "1 of 12 names have no label, such as 'green_0.jpg'" in error["message"]


def test_labels_may_hold_slashes_and_be_long(imported: Import, folder: Path) -> None:
    for colour in ("red", "blue"):
        (folder / "x" / colour).mkdir(parents=True)
        for number in range(2):
            name = f"{'l' * 200}{number}.jpg"
            shutil.copy(folder / f"{colour}_{number}.jpg", folder / "x" / colour / name)
    labels = {"rule": "regex", "pattern": r"^(x/.+)\d\.jpg$", "on": "path", "unmatched": "skip"}

    dataset = imported(labels=labels)

    assert dataset.state == "ready", dataset.error
    expected = [f"x/{colour}/{'l' * 200}" for colour in ("blue", "red")]
    assert [each["label"] for each in dataset.classes] == expected


def test_parts_by_folder_tell_what_is_missing(imported: Import, folder: Path) -> None:
    for name in ("train/red_0", "train/red_1", "train/blue_0", "valid/blue_1", "other/red_2"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{Path(name).name}.jpg").rename(folder / f"{name}.jpg")
    shutil.copy(folder / "red_3.jpg", folder / "valid" / "green_1.jpg")
    labels = {"rule": "regex", "pattern": "^(red|blue|green)"}

    dataset = imported(labels=labels, split={"rule": "folders"})

    assert dataset.state == "ready", dataset.error
    assert [each["label"] for each in dataset.classes] == ["blue", "green", "red"]
    unseen, few = _report(dataset)["warnings"]
    assert (unseen["code"], unseen["examples"]) == ("label_not_in_train", [["green"]])
    assert (few["code"], few["examples"]) == ("few_photos", [["blue"], ["red"]])


def test_a_picture_that_lies_in_train_and_in_valid_is_found_though_it_is_smaller_there(
    imported: Import, folder: Path, artifacts: Artifacts
) -> None:
    for part, numbers in (("train", range(5)), ("valid", range(5, 6))):
        (folder / part).mkdir()
        for colour in ("red", "blue"):
            for number in numbers:
                (folder / f"{colour}_{number}.jpg").rename(folder / part / f"{colour}_{number}.jpg")
    shutil.copy(folder / "train" / "red_0.jpg", folder / "valid" / "red_10.jpg")
    with Image.open(folder / "train" / "blue_0.jpg") as photo:
        photo.resize((60, 54)).save(folder / "valid" / "blue_10.jpg", quality=80)

    dataset = imported(split={"rule": "folders"})

    found = {warning["code"]: warning for warning in _report(dataset)["warnings"]}
    assert list(found) == [
        *("train_valid_leak", "exact_duplicates", "near_duplicates", "tiny_images")
    ]
    reds, blues = ["train/red_0.jpg", "valid/red_10.jpg"], ["train/blue_0.jpg", "valid/blue_10.jpg"]
    assert found["train_valid_leak"]["examples"] == [blues, reds]
    assert found["exact_duplicates"]["examples"] == [reds]
    assert found["near_duplicates"]["examples"] == [blues]
    fingerprints = {item.path: item.fingerprint for item in _items(dataset, artifacts)}
    assert fingerprints["train/red_0.jpg"] == fingerprints["valid/red_10.jpg"] is not None


def _report(dataset: Dataset) -> dict[str, Any]:
    assert dataset.report is not None, dataset.error
    return dict(dataset.report)


def _unreadable(dataset: Dataset) -> dict[str, str]:
    return {each["path"]: each["reason"] for each in _report(dataset)["unreadable"]}


def _counts(dataset: Dataset) -> tuple[int, int]:
    assert dataset.counts is not None
    return dataset.counts["files"], dataset.counts["usable"]


def _items(dataset: Dataset, artifacts: Artifacts) -> list[Item]:
    return read_items(artifacts.items_file(dataset.id))


def _error(dataset: Dataset) -> dict[str, Any]:
    assert dataset.state == "failed"
    assert dataset.error is not None
    return dict(dataset.error)
