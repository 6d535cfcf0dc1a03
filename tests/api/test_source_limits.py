"""Sources that hold more than this installation takes in are refused before any import."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from jobs.settings import Settings
from tests.api.given import CATS, files, of_folder, problem

DATASETS = "/v1/datasets"
NAMES = ("pug_1.jpg", "pug_2.jpg", "pug_3.jpg", "cat_1.jpg", "cat_2.jpg", "cat_3.jpg")


@pytest.fixture
def limited(settings: Settings) -> Iterator[Callable[..., TestClient]]:
    """Makes clients of a service with other limits."""
    opened: list[TestClient] = []

    def make(**limits: int) -> TestClient:
        app = create_app(settings.model_copy(update=limits))
        client = TestClient(app, base_url="http://127.0.0.1")
        opened.append(client.__enter__())
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def folder(photos: Path) -> dict[str, Any]:
    """The body of a dataset of six photos in two classes."""
    files(photos, *NAMES)
    return of_folder(photos)


def test_a_folder_of_too_many_photos_is_refused_and_the_setting_named(
    limited: Callable[..., TestClient], folder: dict[str, Any]
) -> None:
    assert limited(max_files=6).post(DATASETS, json=folder).status_code == 202

    answer = limited(max_files=5).post(DATASETS, json=folder)

    told = problem(answer, 422, "too_many_files", "/source/path")
    assert "more than 5 photos" in told["detail"]
    assert "TUNESMITH_MAX_FILES" in told["detail"]


def test_labels_of_too_many_kinds_are_refused_and_the_rule_is_doubted(
    limited: Callable[..., TestClient], folder: dict[str, Any]
) -> None:
    by_name = {**folder, "labels": {"rule": "regex", "pattern": r"^(.+)\.jpg$"}}
    assert limited(max_classes=2).post(DATASETS, json=folder).status_code == 202

    answer = limited(max_classes=5).post(DATASETS, json=by_name)

    told = problem(answer, 422, "too_many_classes", "/labels")
    assert "6 classes; at most 5" in told["detail"]
    assert "names of files" in told["detail"]


def test_a_dry_run_tells_the_limit_as_an_obstacle(
    limited: Callable[..., TestClient], folder: dict[str, Any]
) -> None:
    answer = limited(max_files=5).post(f"{DATASETS}?dry_run=true", json=folder)

    (obstacle,) = answer.json()["obstacles"]
    assert (obstacle["code"], obstacle["pointer"]) == ("too_many_files", "/source/path")


@pytest.mark.parametrize("source", ["path", "sample"])
def test_without_room_for_thumbnails_and_drawings_nothing_is_registered(
    limited: Callable[..., TestClient], folder: dict[str, Any], settings: Settings, source: str
) -> None:
    everything = shutil.disk_usage(settings.artifacts.parent).total
    client = limited(min_free_bytes=everything)

    answer = client.post(DATASETS, json=folder if source == "path" else CATS)

    # six photos' thumbnails of three blocks each, or 360 with a drawing of 24 KiB beside them
    needed = 6 * 12_288 if source == "path" else 360 * (12_288 + 24_576)
    assert f"{needed} bytes are needed" in problem(answer, 507, "disk_full")["detail"]
    assert client.get(DATASETS).json()["data"] == []
