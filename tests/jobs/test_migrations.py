"""Steps between revisions, with rows in the tables."""

import pytest
from alembic import command
from sqlalchemy import text

from jobs import records, store
from jobs.artifacts import Artifacts
from jobs.database import Database, _alembic_config
from jobs.errors import NewerDatabaseError
from jobs.job import JobState
from tests.jobs import given

REVISIONS = ("0001", "0002", "0003", "0007", "0008", "0009", "0010", "0015", "0018", "0019")
"""Those before the newest."""


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_step_back_and_forward_keeps_jobs_and_their_history(
    database: Database, revision: str
) -> None:
    job = given.job_in(database, JobState.FAILED)
    seen = given.snapshot(database, job.id)

    _step_back(database, revision)
    assert not database.is_current()
    database.migrate()

    assert given.snapshot(database, job.id) == seen
    assert store.get(database, job.id).retry_of is None


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("revision", REVISIONS)
def test_jobs_that_ended_before_the_migration_get_their_files_after_it(
    database: Database, artifacts: Artifacts, revision: str, state: JobState
) -> None:
    job = given.job_in(database, state)
    _step_back(database, revision)

    database.migrate()
    records.write_due(database, artifacts)

    assert artifacts.record_file(job.id).exists() == store.get(database, job.id).is_terminal


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(database: Database) -> None:
    job = given.a_job(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))

    with pytest.raises(NewerDatabaseError, match=r"revision 0999 .* start that one, or restore"):
        database.migrate()
    with pytest.raises(NewerDatabaseError, match="revision 0999"):
        database.refuse_newer()

    assert store.get(database, job.id) == job


def test_an_older_database_is_not_refused(database: Database) -> None:
    _step_back(database, "0001")

    database.refuse_newer()

    # only a migrated one can be used by the next test
    database.migrate()


def _step_back(database: Database, revision: str) -> None:
    config = _alembic_config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
