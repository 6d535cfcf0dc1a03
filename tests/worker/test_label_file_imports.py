"""Imports whose labels and parts stand in files, on a real worker."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.settings import Settings
from tests.archives import a_tar, a_zip, files_below, gzipped
from tests.worker.conftest import import_folder
from tests.worker.photos import write_photos
from tests.worker.test_upload_imports import ended, register, send
from worker.items import read_items
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
Import = Callable[..., Dataset]
Pack = Callable[[dict[str, bytes]], bytes]

CSV = {"rule": "csv", "file": "labels.csv"}
NAMES = [f"{hue}_{number}.jpg" for hue in ("red", "blue") for number in range(4)]
TEXT = "path,label,part\n" + "".join(
    f"{name},{'=warm' if name < 'c' else 'kalt ❄'},{'valid' if '3' in name else 'train'}\n"
    for name in NAMES
)


@pytest.fixture
def folder(quick: Settings) -> Path:
    """Eight photos, with labels and parts in a file."""
    folder = quick.dataset_roots[0] / "listed"
    write_photos(folder, per_class=4)
    (folder / "labels.csv").write_text(TEXT)
    return folder


@pytest.fixture
def imported(database: Database, work: Work, folder: Path) -> Import:
    """Imports the folder by its file, as far as it got."""

    def run(**changes: Any) -> Dataset:  # noqa: ANN401
        return import_folder(database, work, folder, **{"labels": CSV, "split": CSV, **changes})

    return run


def listed(artifacts: Artifacts, dataset: Dataset) -> dict[str, tuple[str | None, str | None]]:
    """Label and part of each path."""
    assert dataset.state == "ready", dataset.error
    items = read_items(artifacts.items_file(dataset.id))
    return {item.path: (item.label, item.split) for item in items}


def failure(dataset: Dataset) -> tuple[str, str]:
    assert dataset.state == "failed"
    return (dataset.error or {})["code"], (dataset.error or {})["message"]


def test_photos_have_the_labels_and_parts_of_their_rows(
    artifacts: Artifacts, imported: Import
) -> None:
    found = listed(artifacts, imported())

    assert found == {
        name: (
            "=warm" if name.startswith("blue") else "kalt ❄",
            "valid" if name.endswith("_3.jpg") else "train",
        )
        for name in sorted(NAMES)
    }


def test_photos_without_a_row_are_left_out_where_that_is_wished(
    artifacts: Artifacts, folder: Path, imported: Import
) -> None:
    lines = [line for line in TEXT.splitlines() if "red_3" not in line]
    (folder / "labels.csv").write_text("\n".join(lines))
    skipping = {**CSV, "unmatched": "skip"}

    refused = imported()
    by_part = imported(labels={"rule": "regex", "pattern": "^(red|blue)"}, split=skipping)
    by_label = imported(labels=skipping)

    assert failure(refused)[0] == "labels_unmatched"
    assert "CSV file" in (refused.error or {})["hint"]
    assert listed(artifacts, by_part)["red_3.jpg"] == ("red", None)
    assert listed(artifacts, by_label)["red_3.jpg"] == (None, None)
    assert (by_label.counts or {})["valid"] == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (f"{TEXT}red_1.jpg,x,train\n", "labels.csv, line 10: 'red_1.jpg' has a row already"),
        (f"{TEXT}red_9.jpg,x,train\n", "labels.csv, line 10: 'red_9.jpg' names no photo"),
        (TEXT.replace(",valid", ",holdout"), "line 5: 'holdout': it names no part; use one of"),
        (TEXT.replace("path,", "file,"), "labels.csv, line 1: there is no column 'path'"),
        (None, "labels.csv: there is no such file below the source"),
    ],
)
def test_a_file_that_cannot_be_used_fails_the_import_before_a_photo_is_decoded(
    artifacts: Artifacts, folder: Path, imported: Import, text: str | None, named: str
) -> None:
    (folder / "labels.csv").unlink()
    if text is not None:
        (folder / "labels.csv").write_text(text)

    dataset = imported()

    code, message = failure(dataset)
    assert code == "label_file_invalid"
    assert named in message
    assert not artifacts.thumbnails_folder(dataset.id).exists()


def test_unreadable_photos_need_no_part(
    artifacts: Artifacts, folder: Path, imported: Import
) -> None:
    (folder / "red_3.jpg").write_text("no photo")
    text = TEXT.replace("red_3.jpg,kalt ❄,valid\n", "")
    (folder / "parts.csv").write_text(text)

    dataset = imported(split={**CSV, "file": "parts.csv"}, max_unreadable_fraction=0.5)

    assert listed(artifacts, dataset)["red_3.jpg"] == ("kalt ❄", None)


def test_an_image_folder_is_imported_with_its_metadata(
    database: Database, artifacts: Artifacts, work: Work, quick: Settings
) -> None:
    folder = quick.dataset_roots[0] / "hub"
    for part in ("train", "validation", "test"):
        write_photos(folder / part / "images", per_class=2)
        lines = [
            f'{{"file_name": "images/{hue}_{number}.jpg", "label": {label}}}\n'
            for label, hue in enumerate(("red", "blue"))
            for number in range(2)
        ]
        (folder / part / "metadata.jsonl").write_text("".join(lines))

    dataset = import_folder(
        database, work, folder, labels={"rule": "imagefolder"}, split={"rule": "folders"}
    )

    assert [dict(entry) for entry in dataset.classes] == [
        {"label": "0", "count": 6},
        {"label": "1", "count": 6},
    ]
    found = listed(artifacts, dataset)
    assert found["validation/images/blue_1.jpg"] == ("1", "valid")
    assert found["test/images/red_0.jpg"] == ("0", "test")


@pytest.mark.parametrize("pack", [a_zip, lambda files: gzipped(a_tar(files))])
def test_the_file_comes_with_an_archive_and_other_files_do_not(
    database: Database, artifacts: Artifacts, work: Work, folder: Path, pack: Pack
) -> None:
    content = pack({f"pets/{name}": each for name, each in files_below(folder).items()} | OTHERS)
    dataset = register(database, send(database, artifacts, content), labels=CSV, split=CSV)

    work("prepare")
    dataset = ended(database, dataset)

    assert listed(artifacts, dataset)["red_3.jpg"] == ("kalt ❄", "valid")
    kept = set(files_below(artifacts.photos_folder(dataset.id)))
    assert kept == {*NAMES, "labels.csv"}
    assert (dataset.report or {})["left_out"] == [
        {"reason": "not_a_photo", "count": 1, "examples": ["pets/other.csv"]},
        {"reason": "hidden", "count": 1, "examples": ["__MACOSX/pets/labels.csv"]},
    ]


OTHERS = {"pets/other.csv": b"path,label\n", "__MACOSX/pets/labels.csv": b"no csv"}


def test_names_that_differ_in_case_only_have_rows_of_their_own(
    artifacts: Artifacts, folder: Path, imported: Import
) -> None:
    shutil.copy(folder / "blue_1.jpg", folder / "RED_1.jpg")
    (folder / "labels.csv").write_text(f"{TEXT}RED_1.jpg,=Warm,train\n")

    found = listed(artifacts, imported())

    assert found["red_1.jpg"] == ("kalt ❄", "train")
    assert found["RED_1.jpg"] == ("=Warm", "train")
