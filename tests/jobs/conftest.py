"""The store's tests run on every kind of database that it supports."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.jobs import postgresql

KINDS = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgres))


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
def database_url(new_database_url: Callable[[], str]) -> str:
    """The address of an empty, migrated database."""
    return new_database_url()


@pytest.fixture(params=KINDS)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database without a table; SQLite has not even a file."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/new/folder/tunesmith.db"
        return
    server: postgresql.Server = request.getfixturevalue("postgresql_server")
    address = server.empty_database()
    yield address
    server.drop(address)
