"""The store's tests run on every kind of database that it supports."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import KINDS
from tests.jobs import postgresql


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
