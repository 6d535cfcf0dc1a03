"""A client of the whole application, in the test's own folder and without a Redis."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient as TestClient

from api.app import create_app
from api.live_events import Follower
from api.sse import Bell
from jobs.settings import Settings

Act = Callable[[], object]


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


@pytest.fixture
def once_waited_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Act], None]]:
    """Lets something happen in another thread as soon as somebody waits for a change."""
    yield from _once_awaited(monkeypatch, Bell, "wait")


@pytest.fixture
def once_watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Act], None]]:
    """Lets something happen in another thread as soon as a reader has seen all there is."""
    yield from _once_awaited(monkeypatch, Follower, "news")


def _once_awaited(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> Iterator[Callable[[Act], None]]:
    awaited = threading.Event()
    method = getattr(owner, name)

    async def seen(*arguments: object) -> object:
        awaited.set()
        return await method(*arguments)

    monkeypatch.setattr(owner, name, seen)
    threads: list[threading.Thread] = []

    def start(act: Act) -> None:
        def run() -> None:
            if awaited.wait(timeout=20):
                act()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()
