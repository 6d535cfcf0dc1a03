"""`tunesmith gc`: what it would remove, what it removes, what it leaves."""

import os
import time
from pathlib import Path

import pytest

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.ids import new_job_id
from jobs.job import JobState
from tests.cli.conftest import Command
from tests.jobs import given


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, artifacts: Artifacts) -> None:
    """The command finds the test's own database and artifacts."""
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", database_url)
    monkeypatch.setenv("TUNESMITH_ARTIFACTS", str(artifacts.root))


@pytest.fixture
def orphan(database: Database, artifacts: Artifacts) -> Path:
    """The folder of a job that was deleted days ago; 2,000 bytes lie in it."""
    given.job_in(database, JobState.RUNNING)
    folder = artifacts.job_folder(new_job_id())
    folder.mkdir(parents=True)
    (folder / "log.txt").write_bytes(bytes(2000))
    old_s = time.time() - 10 * 86400
    os.utime(folder / "log.txt", (old_s, old_s))
    os.utime(folder, (old_s, old_s))
    return folder


def test_a_dry_run_names_what_would_go_and_touches_nothing(
    tunesmith: Command, orphan: Path
) -> None:
    code, out, _ = tunesmith("gc", "--dry-run")

    assert code == 0
    line, total = out.splitlines()
    assert line.split()[:3] == ["2", "kB", "orphan"]
    assert f"jobs/{orphan.name}  (its job was deleted)" in line
    assert total == "1 thing, 2 kB, would be removed"
    assert orphan.is_dir()


def test_what_was_named_is_removed_and_is_not_there_the_next_time(
    tunesmith: Command, orphan: Path
) -> None:
    code, out, _ = tunesmith("gc")

    assert code == 0
    assert out.splitlines()[-1] == "1 thing, 2 kB, removed"
    assert not orphan.exists()
    assert tunesmith("gc")[1] == "nothing to remove\n"


def test_without_its_database_it_removes_nothing(
    tunesmith: Command, orphan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An empty database would make orphans of everything."""
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", f"sqlite:///{tmp_path}/none.db")

    code, out, said = tunesmith("gc")

    assert code != 0
    assert out == ""
    assert "there is no database" in said
    assert orphan.is_dir()
