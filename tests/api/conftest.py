"""A client of the whole application, in the test's own folder and without a Redis."""

import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.exceptions import StarletteDeprecationWarning

from api.app import create_app
from api.sse import Bell
from jobs.settings import Settings

with warnings.catch_warnings():
    # the test client would rather have another HTTP library than the one the project ships
    warnings.simplefilter("ignore", StarletteDeprecationWarning)
    from starlette.testclient import TestClient as TestClient

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
    """Lets something happen in another thread as soon as a reader has seen all there is."""
    waits = threading.Event()
    wait = Bell.wait

    async def seen_waiting(bell: Bell, timeout_s: float) -> None:
        waits.set()
        await wait(bell, timeout_s)

    monkeypatch.setattr(Bell, "wait", seen_waiting)
    threads: list[threading.Thread] = []

    def start(act: Act) -> None:
        def run() -> None:
            if waits.wait(timeout=20):
                act()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()
