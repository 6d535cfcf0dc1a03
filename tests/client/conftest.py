"""A client of a real service, and clients of a web server that does what it is told."""

from collections.abc import Iterator

import pytest

from jobs.settings import Settings
from tests.served import served
from tests.web_server import WebServer, serving
from tunesmith_client import Client, Retries

AT_ONCE = Retries(attempts=3, first_pause_s=0, longest_pause_s=0)


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """The address of the application, without workers."""
    with served(settings) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[Client]:
    """A client of the application."""
    with Client(url, retries=AT_ONCE) as client:
        yield client


@pytest.fixture
def server() -> Iterator[WebServer]:
    """A web server that does what it is told."""
    with serving() as server:
        yield server


@pytest.fixture
def told(server: WebServer) -> Iterator[Client]:
    """A client of that web server."""
    with Client(server.url(""), retries=AT_ONCE) as client:
        yield client


@pytest.fixture
def with_keys_url(settings: Settings) -> Iterator[str]:
    """The address of the application where it asks for keys."""
    with served(settings.model_copy(update={"auth": "keys"})) as url:
        yield url
