"""Steps between revisions, with rows in the tables."""

import pytest
from alembic import command

from jobs import store
from jobs.database import Database, _alembic_config
from jobs.job import JobState
from tests.jobs import given


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_step_back_and_forward_keeps_jobs_and_their_history(
    database: Database, revision: str
) -> None:
    job = given.job_in(database, JobState.FAILED)
    seen = given.snapshot(database, job.id)

    config = _alembic_config()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
    assert not database.is_current()
    database.migrate()

    assert given.snapshot(database, job.id) == seen
    assert store.get(database, job.id).retry_of is None
