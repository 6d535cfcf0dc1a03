"""Tiny photos and their pixels, made once for all tests of this package."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ml.cache import Pixels
from ml.photos import LabelledPhoto
from tests.ml.fakes import make_photos, pixels_of


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # Images this small gain nothing from more, and other work on the machine cannot slow it down.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def train(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPhoto]:
    return make_photos(tmp_path_factory.mktemp("train"), 10)


@pytest.fixture(scope="session")
def valid(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledPhoto]:
    return make_photos(tmp_path_factory.mktemp("valid"), 6)


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def pixels(train: list[LabelledPhoto], cache_folder: Path) -> Iterator[Pixels]:
    opened = pixels_of(train, cache_folder)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def valid_pixels(valid: list[LabelledPhoto], cache_folder: Path) -> Iterator[Pixels]:
    opened = pixels_of(valid, cache_folder)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def cpu() -> torch.device:
    return torch.device("cpu")
