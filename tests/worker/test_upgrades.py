"""A worker that is older than the jobs or the database it finds."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from jobs.database import Database
from jobs.job import JobState, JobType
from jobs.settings import Settings
from jobs.spec import SPEC_VERSION
from tests.jobs.given import set_columns
from tests.worker.conftest import fine_tune_spec, submit, wait_for
from worker.app import main
from worker.supervisor import Supervisor


def test_a_job_that_a_newer_version_has_accepted_fails_and_says_so(
    database: Database, work: Callable[[str], Supervisor], dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)
    set_columns(database, job.id, spec_version=SPEC_VERSION + 1)

    work("train")

    failed = wait_for(database, job.id, lambda job: job.is_terminal)
    assert failed.state == JobState.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "spec_too_new"
    assert f"has the version {SPEC_VERSION + 1}" in failed.error["message"]


def test_a_worker_does_not_start_on_a_database_of_a_newer_version(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", settings.database_url)
    monkeypatch.setattr("sys.argv", ["tunesmith worker"])
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))

    with pytest.raises(SystemExit, match="cannot start: the database is at revision 0999"):
        main()
