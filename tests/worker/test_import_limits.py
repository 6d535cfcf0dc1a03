"""Imports that would take in too much: each limit ends the import, or leaves one photo out."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs import datasets, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.job import JobState
from jobs.settings import Settings
from tests.ml.difficult_photos import jpeg_of_many_scans
from tests.worker.conftest import import_folder, wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

EVERYTHING = shutil.disk_usage("/").total * 1000


@pytest.fixture
def quick(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Quick settings, with the limits that the test asks for."""
    return settings.model_copy(update={"threads": 2, **request.param})


@pytest.fixture
def folder(settings: Settings) -> Path:
    """Twelve tiny photos in two classes."""
    folder = settings.dataset_roots[0] / "some"
    write_photos(folder, per_class=6)
    return folder


def _error(dataset: Dataset) -> dict[str, Any]:
    assert dataset.state == "failed"
    assert dataset.error is not None
    return dict(dataset.error)


@pytest.mark.parametrize(
    ("quick", "code", "words"),
    [
        ({"max_files": 11}, "too_many_files", "more than 11 photos"),
        ({"max_classes": 1}, "too_many_classes", "2 classes; at most 1"),
        ({"min_free_bytes": EVERYTHING}, "disk_full", "must stay free"),
    ],
    indirect=["quick"],
)
def test_an_import_of_too_much_fails_before_a_photo_is_decoded(
    database: Database, work: Work, folder: Path, code: str, words: str
) -> None:
    error = _error(import_folder(database, work, folder))

    assert (error["code"], error["phase"]) == (code, "listing")
    assert words in error["message"]


@pytest.mark.parametrize(
    "quick", [{"decode_s": 1, "max_photo_bytes": 200_000, "max_pixels": 20_000_000}], indirect=True
)
def test_a_photo_that_takes_too_much_is_left_out_and_the_import_goes_on(
    database: Database, work: Work, folder: Path
) -> None:
    (folder / "red_90.jpg").write_bytes(jpeg_of_many_scans(4000, scans=1200))
    (folder / "red_91.jpg").write_bytes((folder / "red_1.jpg").read_bytes() + bytes(200_000))
    (folder / "red_92.jpg").write_bytes(jpeg_of_many_scans(5000, scans=1))

    dataset = import_folder(database, work, folder, max_unreadable_fraction=0.5)

    assert dataset.state == "ready", dataset.error
    assert dataset.report is not None
    reasons = {each["path"]: each["reason"] for each in dataset.report["unreadable"]}
    assert set(reasons) == {"red_90.jpg", "red_91.jpg", "red_92.jpg"}
    assert reasons["red_90.jpg"] == "decoding it takes more than 1 s of computing"
    assert "exceed the limit of 200,000 bytes" in reasons["red_91.jpg"]
    assert "5000 x 5000 pixels exceed the limit" in reasons["red_92.jpg"]
    assert dataset.counts is not None
    assert dataset.counts["usable"] == 12


@pytest.mark.parametrize("quick", [{"decode_s": 3600, "cancel_grace_s": 600.0}], indirect=True)
def test_a_cancelled_import_does_not_wait_for_a_photo_that_takes_an_hour(
    database: Database, artifacts: Artifacts, work: Work, folder: Path
) -> None:
    (folder / "a_0.jpg").write_bytes(jpeg_of_many_scans(4000, scans=60_000))
    body = {
        "name": "slow",
        "source": {"type": "path", "path": str(folder)},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    }
    with database.write() as connection:
        dataset = datasets.register(connection, DatasetSpec.model_validate(body))
    work("prepare")
    thumbnails = artifacts.thumbnails_folder(dataset.id)
    wait_for(database, dataset.job_id, lambda _: any(thumbnails.glob("itm_*.jpg")))

    verbs.cancel(database, dataset.job_id)

    ended = wait_for(database, dataset.job_id, lambda job: job.is_terminal)
    assert ended.state == JobState.CANCELLED
