"""A client of the whole application, in the test's own folder and without a Redis."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.exceptions import StarletteDeprecationWarning

from api.app import create_app
from jobs.settings import Settings

with warnings.catch_warnings():
    # the test client would rather have another HTTP library than the one the project ships
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient as TestClient


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    """A client that calls the service by a loopback name."""
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def photos(settings: Settings) -> Path:
    """The only folder that datasets may be read from."""
    return settings.dataset_roots[0]


@pytest.fixture
def with_keys(settings: Settings) -> Settings:
    """Settings of an installation whose requests need keys."""
    return settings.model_copy(update={"auth": "keys"})


@pytest.fixture
def locked(with_keys: Settings) -> Iterator[TestClient]:
    """A client of a service that asks for keys, itself without one."""
    with TestClient(create_app(with_keys), base_url="http://127.0.0.1") as client:
        yield client
