"""How each kind of database is opened: pool, pragmas, timeouts, JSON."""

import json
import math
import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import ConnectionPoolEntry

BUSY_TIMEOUT_MS = 10_000

_SERVER_LIMITS = {
    "lock_timeout": BUSY_TIMEOUT_MS,
    "statement_timeout": 2 * BUSY_TIMEOUT_MS,
    # a process frozen inside a transaction must not keep its rows from the sweeper
    "idle_in_transaction_session_timeout": 2 * BUSY_TIMEOUT_MS,
}
_POSTGRESQL_ARGUMENTS = {
    "connect_timeout": 5,
    # a host that vanished is noticed, not waited for
    "tcp_user_timeout": BUSY_TIMEOUT_MS,
    "application_name": "tunesmith",
    "options": " ".join(f"-c {name}={value_ms}" for name, value_ms in _SERVER_LIMITS.items()),
}


def engine_for(url: URL) -> Engine:
    """A pool of connections to an SQLite file or a PostgreSQL server, none opened yet.

    What the address itself says about a PostgreSQL connection wins over the limits set here.
    """
    return _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)


def json_text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """The value as JSON; a number that is not finite, which JSON cannot name, is null."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url,
        isolation_level="READ COMMITTED",
        json_serializer=json_text,
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=15,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        connect_args={
            name: value for name, value in _POSTGRESQL_ARGUMENTS.items() if name not in url.query
        },
    )


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, json_serializer=json_text, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}
    )
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
