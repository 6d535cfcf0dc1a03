"""What a server database does that a file does not; the rest of the suite runs on both."""

import json
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import make_url, select, text, update

from jobs import idempotency, store, tables
from jobs.database import Database
from jobs.engines import engine_for, json_text
from jobs.errors import (
    IdempotencyInProgressError,
    NotFoundError,
    StoreUnavailableError,
    UnstorableValueError,
)
from jobs.idempotency import Claim
from tests.jobs import given, postgresql

CLAIM = Claim(scope="POST /v1/lr-finds", key="k1", fingerprint="0")


@pytest.fixture
def server_database(postgresql_server: postgresql.Server) -> Iterator[Database]:
    """An empty, migrated database on a PostgreSQL server."""
    address = postgresql_server.migrated_database()
    database = Database(address)
    yield database
    database.close()
    postgresql_server.take_back(address)


def setting(database: Database, name: str) -> str:
    with database.write() as connection:
        return str(connection.execute(text(f"SHOW {name}")).scalar_one())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"loss": math.nan, "kept": [1.5, math.inf, {"x": -math.inf}]}, '[1.5, null, {"x": null}]'),
        ({"kept": (math.nan, "NaN", 1, None, True)}, '[null, "NaN", 1, null, true]'),
    ],
)
def test_a_number_that_is_not_finite_is_null(value: dict[str, object], expected: str) -> None:
    assert json.loads(json_text(value))["kept"] == json.loads(expected)


def test_columns_never_hold_what_json_cannot_name(database: Database) -> None:
    job = given.a_job(database)

    given.set_columns(database, job.id, resolved={"rate": math.nan, "mean": [math.inf, 0.5]})

    assert given.column(database, job.id, "resolved") == {"rate": None, "mean": [None, 0.5]}


def test_a_reader_sees_one_moment_of_all_tables(database: Database) -> None:
    job = given.a_job(database)

    with database.read() as connection:
        before = store.fetch(connection, job.id)
        given.set_columns(database, job.id, name="later")

        assert store.fetch(connection, job.id) == before
    assert store.get(database, job.id).name == "later"


def test_two_edits_of_one_version_at_once_make_one_edit(database: Database) -> None:
    job = given.a_job(database)

    with ThreadPoolExecutor(8) as threads:
        edits = list(
            threads.map(
                lambda n: store.edit(database, job.id, {"name": str(n)}, expected_version=1),
                range(8),
            )
        )

    assert sum(edit is not None for edit in edits) == 1


def test_the_address_wins_over_the_limits_set_here() -> None:
    engine = engine_for(make_url("postgresql+psycopg://@/x?connect_timeout=1"))
    _, arguments = engine.dialect.create_connect_args(engine.url)

    assert arguments["connect_timeout"] == "1"


@pytest.mark.postgres
def test_transactions_are_read_committed_and_bounded(server_database: Database) -> None:
    assert setting(server_database, "transaction_isolation") == "read committed"
    assert setting(server_database, "lock_timeout") == "10s"
    assert setting(server_database, "statement_timeout") == "20s"
    assert setting(server_database, "idle_in_transaction_session_timeout") == "20s"


@pytest.mark.postgres
def test_text_that_the_server_cannot_hold_is_refused(server_database: Database) -> None:
    with pytest.raises(UnstorableValueError, match="cannot hold"):
        store.get(server_database, "job_\x00")
    with pytest.raises(NotFoundError):
        store.get(server_database, "job_0")


@pytest.mark.postgres
def test_a_server_without_our_tables_is_unavailable(postgresql_server: postgresql.Server) -> None:
    address = postgresql_server.empty_database()
    database = Database(address)

    with pytest.raises(StoreUnavailableError, match="not at this revision"):
        store.get(database, "job_0")
    database.close()
    postgresql_server.drop(address)


@pytest.mark.postgres
def test_a_server_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql+psycopg://ana:secret@/x?host=/nowhere")

    with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
        database.is_current()
    assert "secret" not in str(caught.value)


@pytest.mark.postgres
def test_a_connection_that_broke_is_told_and_then_replaced(
    server_database: Database, postgresql_server: postgresql.Server
) -> None:
    job = given.a_job(server_database)

    with pytest.raises(StoreUnavailableError):
        _rename_while_connections_end(server_database, postgresql_server, job.id)

    _end_all_others(postgresql_server)
    assert store.get(server_database, job.id) == job


def _rename_while_connections_end(
    database: Database, server: postgresql.Server, job_id: str
) -> None:
    with database.write() as connection:
        given.rename(connection, job_id, "lost")
        _end_all_others(server)
        store.fetch(connection, job_id)


def _end_all_others(server: postgresql.Server) -> None:
    server.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )


@pytest.mark.postgres
def test_of_two_transactions_that_wait_for_each_other_one_is_unavailable(
    server_database: Database,
) -> None:
    first, second = given.a_job(server_database).id, given.a_job(server_database).id
    both_hold_one = threading.Barrier(2)

    def rename_both(one: str, other: str) -> bool:
        try:
            with server_database.write() as connection:
                given.rename(connection, one, "a")
                both_hold_one.wait()
                given.rename(connection, other, "a")
        except StoreUnavailableError:
            return False
        return True

    with ThreadPoolExecutor(2) as threads:
        ended = threads.map(rename_both, (first, second), (second, first))

        assert sorted(ended) == [False, True]


@pytest.mark.postgres
def test_a_rival_that_does_not_end_is_in_progress(server_database: Database) -> None:
    with server_database.write() as slow:
        idempotency.begin(slow, CLAIM)

        with pytest.raises(IdempotencyInProgressError):
            _begin_impatiently(server_database)


def _begin_impatiently(database: Database) -> None:
    with database.write() as rival:
        rival.execute(text("SET LOCAL lock_timeout = '50ms'"))
        idempotency.begin(rival, CLAIM)


@pytest.mark.postgres
def test_a_claim_does_not_wait_for_a_job_that_somebody_else_holds(
    server_database: Database,
) -> None:
    held, free = given.a_job(server_database), given.a_job(server_database)

    with server_database.write() as connection:
        store.fetch(connection, held.id, lock=True)

        assert given.claimed(server_database).id == free.id


@pytest.mark.postgres
def test_forgetting_old_keys_does_not_wait_for_another_that_forgets(
    server_database: Database,
) -> None:
    with server_database.write() as connection:
        idempotency.begin(connection, CLAIM)
    with server_database.write() as connection:
        connection.execute(update(tables.idempotency).values(created_ms=0))

    other = Claim(scope=CLAIM.scope, key="k2", fingerprint="0")
    with server_database.write() as slow:
        slow.execute(select(tables.idempotency).with_for_update())
        with server_database.write() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '5s'"))

            assert idempotency.begin(connection, other) is None
