import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import delete, select, text, update

from jobs import leases, store, tables
from jobs.database import Database, db_now_ms
from jobs.errors import StoreUnavailableError
from jobs.job import JobState
from jobs.settings import Settings
from tests.jobs import given


def test_an_empty_database_is_not_current_until_it_is_migrated(empty_database_url: str) -> None:
    database = Database(empty_database_url)

    assert not _is_usable(database)
    database.migrate()

    assert _is_usable(database)
    database.close()


def _is_usable(database: Database) -> bool:
    try:
        return database.is_current()
    except StoreUnavailableError:
        return False


def test_migrating_twice_changes_nothing(database: Database) -> None:
    job = given.a_job(database)

    database.migrate()

    assert store.get(database, job.id) == job


def test_a_database_at_another_revision_is_not_current(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    assert not database.is_current()


def test_the_migrated_schema_is_the_one_the_code_speaks_of(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})

        assert compare_metadata(context, tables.metadata) == []


def test_many_processes_may_migrate_an_empty_database_at_once(empty_database_url: str) -> None:
    start = threading.Barrier(8)

    def migrated() -> bool:
        database = Database(empty_database_url)
        start.wait()
        database.migrate()
        current = database.is_current()
        database.close()
        return current

    with ThreadPoolExecutor(8) as threads:
        assert all(future.result() for future in [threads.submit(migrated) for _ in range(8)])


def test_the_database_knows_the_time_in_milliseconds(database: Database) -> None:
    before_ms = time.time_ns() // 1_000_000
    with database.read() as connection:
        now_ms = db_now_ms(connection)
    after_ms = time.time_ns() // 1_000_000

    assert before_ms - 2 <= now_ms <= after_ms + 2


def test_the_clock_moves_within_a_transaction(database: Database) -> None:
    with database.read() as connection:
        first_ms = db_now_ms(connection)
        time.sleep(0.01)

        assert db_now_ms(connection) > first_ms


def test_writers_that_read_first_wait_for_each_other(database_url: str, database: Database) -> None:
    """Two pools stand for two processes; none of the transactions may meet a locked database."""
    job = given.a_job(database)

    def add_fifty() -> None:
        own = Database(database_url)
        for _ in range(50):
            with own.write() as connection:
                seen = store.fetch(connection, job.id, lock=True)
                connection.execute(
                    update(tables.jobs)
                    .where(tables.jobs.c.id == job.id)
                    .values(priority=seen.priority + 1)
                )
        own.close()

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(add_fifty) for _ in range(2)]:
            future.result()

    assert store.get(database, job.id).priority == job.priority + 100


def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    job = given.a_job(database)

    with database.write() as connection:
        connection.execute(update(tables.jobs).values(name="unseen"))

        assert store.get(database, job.id) == job


def test_a_transaction_that_raises_has_written_nothing(database: Database) -> None:
    job = given.a_job(database)

    with pytest.raises(KeyError):
        _rename_and_break(database, job.id)

    assert store.get(database, job.id).name is None


def _rename_and_break(database: Database, job_id: str) -> None:
    with database.write() as connection:
        given.rename(connection, job_id, "lost")
        raise KeyError


def test_deleting_a_job_deletes_its_history(database: Database) -> None:
    job = given.a_job(database)

    with database.write() as connection:
        connection.execute(delete(tables.jobs).where(tables.jobs.c.id == job.id))

    with database.read() as connection:
        assert connection.execute(select(tables.events)).all() == []


def test_a_json_column_without_a_value_is_none_and_null(database: Database) -> None:
    job = given.job_in(database, JobState.RUNNING)
    leases.succeed(database, job.id, job.fence, values={"error": None, "progress": None})

    with database.read() as connection:
        row = connection.execute(select(tables.jobs)).one()
        nulls = connection.execute(
            text("SELECT id FROM jobs WHERE error IS NULL AND progress IS NULL")
        ).all()

    assert (row.error, row.progress) == (None, None)
    assert nulls == [(job.id,)]


def test_a_dataset_that_is_not_imported_has_no_counts_report_or_error(database: Database) -> None:
    dataset = given.a_dataset(database)

    assert (dataset.counts, dataset.report, dataset.error) == (None, None, None)


@pytest.mark.parametrize("url", ["mysql://localhost/x", "oracle://localhost/x"])
def test_an_unknown_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(StoreUnavailableError, match="use sqlite or postgresql"):
        Database(url)


def test_a_database_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}")

    with pytest.raises(StoreUnavailableError, match="does not answer"), database.read():
        pass


def test_settings_and_database_speak_of_the_same_place(
    settings: Settings, database: Database
) -> None:
    job = given.a_job(database)
    other = Database(settings.database_url)

    assert store.get(other, job.id) == job
    other.close()
