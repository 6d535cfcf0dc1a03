"""`tunesmith export-job` and `tunesmith restore` on a lost database."""

from pathlib import Path

import pytest

from jobs import records, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobState
from tests.cli.conftest import Command
from tests.jobs import given

NOT_IN_IT = "not in it: API keys"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, artifacts: Artifacts) -> None:
    """The commands find the test's own database and artifacts."""
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", database_url)
    monkeypatch.setenv("TUNESMITH_ARTIFACTS", str(artifacts.root))


@pytest.fixture
def job_id(database: Database, artifacts: Artifacts) -> str:
    """A failed job with its file."""
    job = given.job_in(database, JobState.FAILED)
    records.write_due(database, artifacts)
    return job.id


@pytest.fixture
def lost(tmp_path: Path) -> str:
    """The address of a database that is no more."""
    return f"sqlite:///{tmp_path}/lost/tunesmith.db"


def test_a_lost_database_is_built_again_and_the_keys_are_not(
    tunesmith: Command, artifacts: Artifacts, job_id: str, database: Database, lost: str
) -> None:
    code, out, _ = tunesmith("restore", str(artifacts.root), "--database-url", lost)

    assert code == 0
    assert out.startswith("restored: 1 jobs, 0 datasets, 0 models; there already: 0 jobs\n")
    assert NOT_IN_IT in out
    new = Database(lost)
    assert given.snapshot(new, job_id) == given.snapshot(database, job_id)
    new.close()


def test_without_a_source_the_settings_say_where_the_files_are(
    tunesmith: Command, job_id: str, lost: str
) -> None:
    code, out, _ = tunesmith("restore", "--database-url", lost)

    assert code == 0
    assert out.startswith("restored: 1 jobs")


def test_a_dry_run_makes_no_database(
    tunesmith: Command, artifacts: Artifacts, job_id: str, lost: str, tmp_path: Path
) -> None:
    (tmp_path / "lost").mkdir()

    code, out, _ = tunesmith("restore", str(artifacts.root), "--database-url", lost, "--dry-run")

    assert code == 0
    assert "said for an empty one" in out
    assert "would be restored: 1 jobs" in out
    assert list((tmp_path / "lost").iterdir()) == []


def test_what_is_missing_is_said(
    tunesmith: Command, artifacts: Artifacts, job_id: str, lost: str
) -> None:
    artifacts.record_file(job_id).unlink()

    _, out, _ = tunesmith("restore", str(artifacts.root), "--database-url", lost)

    assert f"not restored: jobs/{job_id}: there is no job.json" in out


def test_files_elsewhere_are_to_be_brought_to_the_artifacts(
    tunesmith: Command, artifacts: Artifacts, job_id: str, lost: str, tmp_path: Path
) -> None:
    copy = artifacts.root.rename(tmp_path / "copy")

    _, out, _ = tunesmith("restore", str(copy), "--database-url", lost)

    assert f"the files must lie in {artifacts.root}" in out


def test_an_exported_job_comes_back_after_its_deletion(
    tunesmith: Command, database: Database, artifacts: Artifacts, job_id: str, tmp_path: Path
) -> None:
    archive = tmp_path / "job.tar.gz"
    assert tunesmith("export-job", job_id, "-o", str(archive))[:2] == (
        0,
        f"{archive} holds {job_id}\n",
    )
    seen = store.delete_job(database, job_id)

    assert "would be restored: 1 jobs" in tunesmith("restore", str(archive), "--dry-run")[1]
    assert "restored: 1 jobs" in tunesmith("restore", str(archive))[1]

    assert store.get(database, job_id) == seen


def test_a_job_that_goes_on_is_not_exported(
    tunesmith: Command, database: Database, tmp_path: Path
) -> None:
    job = given.a_job(database)

    code, _, err = tunesmith("export-job", job.id, "-o", str(tmp_path / "job.tar.gz"))

    assert code == 1
    assert err.startswith(f"tunesmith: job {job.id} is queued and has no archive")
