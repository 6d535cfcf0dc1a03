"""The connection to the one truth: transactions, the clock, the schema's revision."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, TimeoutError

from jobs.engines import engine_for
from jobs.errors import (
    JobsError,
    NewerDatabaseError,
    StoreUnavailableError,
    UnstorableValueError,
)

_NOW_MS = {
    # SQLite 3.40 has no sub-second unixepoch; PostgreSQL's now() is the transaction's start.
    "sqlite": "SELECT CAST(ROUND((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
}
# a reader of several tables sees one moment of all of them, as it always does on SQLite
_READING: Mapping[str, Mapping[str, Any]] = {
    "sqlite": {},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
_MIGRATION_LOCK = 0x74756E65  # any number that no other application takes
_LOCK_NOT_AVAILABLE = "55P03"
_UNDEFINED = {"42P01", "42703"}  # table, column


class Database:
    """One pool of connections with a read and a write transaction."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() not in _NOW_MS:
            raise StoreUnavailableError(
                f"database {parsed.get_backend_name()!r} is not supported; use sqlite or postgresql"
            )
        self._url = parsed
        self.engine = engine_for(parsed)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; all its statements see the same moment."""
        with self._translated_errors(), self.engine.connect() as plain:
            connection = plain.execution_options(**_READING[plain.dialect.name])
            with connection.begin():
                yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes, committed at the end, rolled back on any error.

        SQLite takes its write lock at once: a transaction that reads first and then writes
        fails with "database is locked" whatever the busy timeout. PostgreSQL locks rows: what
        is read to be changed is read ``FOR UPDATE``.
        """
        with self._translated_errors(), self.engine.connect() as plain:
            later: list[Callable[[], None]] = []
            connection = plain.execution_options(tunesmith_writes=True, tunesmith_later=later)
            with connection.begin():
                yield connection
        for act in later:
            act()

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as problem:
            raise StoreUnavailableError("no connection to the database became free") from problem
        except DBAPIError as problem:
            translated = _translated(problem)
            if translated is None:
                raise
            raise translated from problem

    def migrate(self) -> None:
        """The schema is at the newest revision; an empty database is filled from nothing.

        Of several processes that migrate at once one does it and the others wait.

        Raises:
            NewerDatabaseError: a newer version has migrated it already.
        """
        if self._url.get_backend_name() == "sqlite" and self._url.database:
            Path(self._url.database).parent.mkdir(parents=True, exist_ok=True)
        config = _alembic_config()
        with self.write() as connection:
            if connection.dialect.name == "postgresql":
                _wait_for_other_migrations(connection)
            _refuse_newer(connection)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def is_current(self) -> bool:
        """Whether the schema is at the revision this code was written for.

        Raises:
            StoreUnavailableError: the database does not answer.
        """
        with self.read() as connection:
            return MigrationContext.configure(connection).get_current_revision() == _head()

    def refuse_newer(self) -> None:
        """The schema is one that this version knows, be it older.

        Raises:
            NewerDatabaseError: a newer version has migrated it.
            StoreUnavailableError: it does not answer.
        """
        with self.read() as connection:
            _refuse_newer(connection)

    def close(self) -> None:
        """All pooled connections are closed."""
        self.engine.dispose()


def after_commit(connection: Connection, act: Callable[[], None]) -> None:
    """The act follows the end of this `Database.write`, unless that is rolled back."""
    connection.get_execution_options().get("tunesmith_later", []).append(act)


def db_now_ms(connection: Connection) -> int:
    """The database's wall clock, milliseconds since 1970, UTC."""
    return int(connection.execute(text(_NOW_MS[connection.dialect.name])).scalar_one())


def waited_too_long(problem: DBAPIError) -> bool:
    """Whether the statement gave up because another transaction kept what it needed."""
    return _sqlstate(problem) == _LOCK_NOT_AVAILABLE


def _translated(problem: DBAPIError) -> JobsError | None:
    if problem.connection_invalidated:
        return StoreUnavailableError(f"the connection to the database broke: {problem.orig}")
    if isinstance(problem, OperationalError):
        return StoreUnavailableError(f"the database does not answer: {problem.orig}")
    if _sqlstate(problem) in _UNDEFINED:
        return StoreUnavailableError(f"the database is not at this revision: {problem.orig}")
    if isinstance(problem, DataError):
        return UnstorableValueError(f"the database cannot hold a value: {problem.orig}")
    return None


def _sqlstate(problem: DBAPIError) -> str | None:
    return getattr(problem.orig, "sqlstate", None)


def _wait_for_other_migrations(connection: Connection) -> None:
    for limit in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(text(f"SET LOCAL {limit} = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})


def _refuse_newer(connection: Connection) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is not None and revision not in _known():
        raise NewerDatabaseError(
            f"the database is at revision {revision} and this version knows those up to {_head()}: "
            "a newer version has migrated it; start that one, or restore a backup made before"
        )


@functools.cache
def _known() -> frozenset[str]:
    scripts = ScriptDirectory.from_config(_alembic_config())
    return frozenset(script.revision for script in scripts.walk_revisions())


@functools.cache
def _head() -> str | None:
    return ScriptDirectory.from_config(_alembic_config()).get_current_head()


def _alembic_config() -> Config:
    config = Config()
    folder = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config
