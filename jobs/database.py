"""The connection to the one truth: transactions, the clock, the schema's revision."""

import functools
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError, TimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from jobs.errors import StoreUnavailableError

BUSY_TIMEOUT_MS = 10_000

_NOW_MS = {
    # SQLite 3.40 has no sub-second unixepoch; PostgreSQL's now() is the transaction's start.
    "sqlite": "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
}


class Database:
    """One pool of connections with a read and a write transaction."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() not in _NOW_MS:
            raise StoreUnavailableError(
                f"database {parsed.get_backend_name()!r} is not supported; use sqlite or postgresql"
            )
        self._url = parsed
        self.engine = _create_engine(parsed)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads."""
        with self._translated_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes, committed at the end, rolled back on any error.

        SQLite takes its write lock at once: a transaction that reads first and then writes
        fails with "database is locked" whatever the busy timeout.
        """
        with self._translated_errors(), self.engine.connect() as plain:
            connection = plain.execution_options(tunesmith_writes=True)
            with connection.begin():
                yield connection

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as problem:
            raise StoreUnavailableError(f"the database does not answer: {problem.orig}") from (
                problem
            )
        except TimeoutError as problem:
            raise StoreUnavailableError("no connection to the database became free") from problem
        except DBAPIError as problem:
            if problem.connection_invalidated:
                raise StoreUnavailableError(
                    f"the connection to the database broke: {problem.orig}"
                ) from problem
            raise

    def migrate(self) -> None:
        """The schema is at the newest revision; an empty database is filled from nothing."""
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        config = _alembic_config()
        with self.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def is_current(self) -> bool:
        """Whether the schema is at the revision this code was written for.

        Raises:
            StoreUnavailableError: the database does not answer.
        """
        with self.read() as connection:
            return MigrationContext.configure(connection).get_current_revision() == _head()

    def close(self) -> None:
        """All pooled connections are closed."""
        self.engine.dispose()


def db_now_ms(connection: Connection) -> int:
    """The database's wall clock, milliseconds since 1970, UTC."""
    return int(connection.execute(text(_NOW_MS[connection.dialect.name])).scalar_one())


@functools.cache
def _head() -> str | None:
    return ScriptDirectory.from_config(_alembic_config()).get_current_head()


def _alembic_config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config


def _create_engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    _use_write_ahead_log(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # the first switch of a new file fails at once while others open it, whatever the busy timeout
    deadline_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("tunesmith_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
