"""`tunesmith doctor`: each thing that can be wrong is found, and told with what to do."""

import json
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url, text

from cli import process_checks
from cli.findings import Finding, State
from jobs import presence
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.ids import new_job_id
from jobs.job import JobState
from jobs.models import Model
from jobs.settings import Settings, load_settings
from tests.cli.conftest import Command
from tests.jobs import given

Check = Callable[..., tuple[int, dict[str, dict[str, str]]]]

NO_GPU = {"version": "2.12", "threads": 4, "gpus": []}
ONE_GPU = {"version": "2.12", "threads": 4, "gpus": [{"name": "H200", "error": None}]}
OLD_GPU = {"version": "2.12", "threads": 4, "gpus": [{"name": "K80", "error": "no kernel image"}]}


@pytest.fixture(autouse=True)
def environment(
    monkeypatch: pytest.MonkeyPatch, database_url: str, artifacts: Artifacts, redis_url: str
) -> None:
    """The command finds the test's own database, artifacts and Redis; the disk is large enough."""
    artifacts.root.mkdir()
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", database_url)
    monkeypatch.setenv("TUNESMITH_ARTIFACTS", str(artifacts.root))
    monkeypatch.setenv("TUNESMITH_REDIS_URL", redis_url)
    monkeypatch.setenv("TUNESMITH_MIN_FREE_BYTES", "0")
    monkeypatch.setenv("TUNESMITH_MAX_UPLOAD_BYTES", "1")


@pytest.fixture(scope="module")
def devices() -> Finding:
    """What the tensor library says of this machine, which takes seconds and stays the same."""
    return process_checks.device_finding(load_settings())


@pytest.fixture(autouse=True)
def devices_are_asked_once(monkeypatch: pytest.MonkeyPatch, devices: Finding) -> None:
    """The answer of the first time counts for every test."""
    monkeypatch.setattr(process_checks, "device_finding", lambda _: devices)


@pytest.fixture
def check(tunesmith: Command, monkeypatch: pytest.MonkeyPatch) -> Check:
    """The findings by their names, and the exit code, of an environment changed so."""

    def run(**changes: str) -> tuple[int, dict[str, dict[str, str]]]:
        for name, value in changes.items():
            monkeypatch.setenv(f"TUNESMITH_{name.upper()}", value)
        code, out, _ = tunesmith("doctor", "--json")
        report = json.loads(out)
        assert report["healthy"] == (code == 0)
        return code, {each["name"]: each for each in report["checks"]}

    return run


def test_a_sound_installation_is_healthy_and_every_part_was_looked_at(
    check: Check, tunesmith: Command
) -> None:
    code, found = check()
    _, lines, _ = tunesmith("doctor")

    assert code == 0
    assert set(found) == {
        *("database", "settings", "artifacts", "redis", "device", "models", "leftovers"),
        *("worker predict", "worker prepare", "worker train"),
    }
    assert found["database"]["found"].endswith("current, writable, whole")
    assert "gives back what it gets" in found["redis"]["found"]
    # without workers jobs wait; that is no damage
    assert found["worker train"]["state"] == "warning"
    assert len(lines.splitlines()) == len(found)


def test_a_worker_that_was_heard_of_is_named(check: Check, database: Database) -> None:
    presence.announce(
        database, worker_id="train-1", queue="train", device="cpu", hostname="here", pid=1
    )

    _, found = check()

    assert found["worker train"]["state"] == "ok"
    assert "train-1 (cpu); 0 jobs not finished" in found["worker train"]["found"]


def test_a_database_of_another_revision_names_the_command(check: Check, database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))

    code, found = check()

    assert code == 1
    assert "tunesmith migrate" in found["database"]["remedy"]
    # what needs it was left out, the rest was looked at
    assert "models" not in found
    assert found["redis"]["state"] == "ok"


def test_a_damaged_database_is_told_before_anything_relies_on_it(
    check: Check, database: Database
) -> None:
    for _ in range(50):
        given.a_job(database)
    database.close()
    file = Path(str(make_url(str(database.engine.url)).database))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_jobs_claim'"
        ).fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as content:
        content.seek((page - 1) * page_bytes)
        content.write(os.urandom(page_bytes))

    code, found = check()

    assert code == 1
    assert found["database"]["found"].startswith("it is damaged: ")


def test_a_redis_that_is_away_is_told_with_what_it_means(check: Check, tmp_path: Path) -> None:
    code, found = check(redis_url=f"redis+socket://{tmp_path}/nobody.sock")

    assert code == 1
    assert "nothing is lost" in found["redis"]["remedy"]


def test_artifacts_that_are_gone_are_missed_only_once_something_lies_there(
    check: Check, database: Database, tmp_path: Path
) -> None:
    elsewhere = str(tmp_path / "not-mounted")
    before, _ = check(artifacts=elsewhere)
    given.a_model(database)

    after, found = check(artifacts=elsewhere)

    assert (before, after) == (0, 1)
    assert "mount the disk" in found["artifacts"]["remedy"]


def test_a_disk_that_is_nearly_full_is_told(check: Check) -> None:
    code, found = check(min_free_bytes=str(2**62))

    assert code == 1
    assert "free space" in found["artifacts"]["remedy"]


def test_a_model_whose_file_is_gone_or_cut_is_named(
    check: Check, database: Database, artifacts: Artifacts
) -> None:
    whole, cut, gone = (_model_with_file(database, artifacts, number) for number in range(3))
    artifacts.absolute(cut.path).write_bytes(b"")
    artifacts.absolute(gone.path).unlink()

    code, found = check()

    assert code == 1
    assert found["models"]["found"].startswith("2 of 3 have no file, or a part of it: ")
    assert whole.id not in found["models"]["found"]
    assert {cut.id, gone.id} <= set(found["models"]["found"].replace(",", "").split())


def test_folders_that_nobody_knows_are_strangers_unless_they_are_new(
    check: Check, database: Database, artifacts: Artifacts
) -> None:
    given.job_in(database, JobState.SUCCEEDED)
    stranger = artifacts.job_folder("job_01jd2s4ah2f3kv8m6q0x5w9c7e")
    stranger.mkdir(parents=True)
    (stranger / "log.txt").write_text("12345")

    code, found = check()

    assert code == 0
    assert found["strangers"]["found"].startswith(
        "1 older than the database and unknown to it, 5 B"
    )


def test_what_could_go_is_counted(check: Check, database: Database, artifacts: Artifacts) -> None:
    given.job_in(database, JobState.SUCCEEDED)
    orphan = artifacts.job_folder(new_job_id())
    orphan.mkdir(parents=True)
    old_s = time.time() - 10 * 86400
    os.utime(orphan, (old_s, old_s))

    _, found = check()

    assert found["leftovers"]["found"].startswith("1 that nothing needs")
    assert "tunesmith gc" in found["leftovers"]["remedy"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"dataset_roots": "/no/such/folder"}, "/no/such/folder, which is no folder"),
        ({"admin_key_file": "/no/such/file"}, "/no/such/file, which is no file"),
        ({"max_upload_bytes": str(2**62)}, "more than the disk of"),
        ({"auth": "keys"}, "no usable one is an admin's"),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    check: Check, changes: dict[str, str], word: str
) -> None:
    code, found = check(**changes)

    assert code == 1
    assert word in found["settings"]["found"]
    assert found["settings"]["remedy"]


def test_a_wrong_value_of_a_variable_is_the_only_finding(check: Check) -> None:
    code, found = check(lease_s="soon")

    assert code == 1
    assert set(found) == {"settings"}
    assert "TUNESMITH_LEASE_S" in found["settings"]["found"]


@pytest.mark.parametrize(
    ("device", "answer", "drivers", "state", "word"),
    [
        ("auto", NO_GPU, 0, State.OK, "the CPU, 4 threads"),
        ("auto", ONE_GPU, 1, State.OK, "H200"),
        ("cpu", ONE_GPU, 1, State.OK, "the CPU"),
        ("auto", NO_GPU, 2, State.WARNING, "the driver lists 2 GPUs"),
        ("cuda", NO_GPU, 0, State.FAILED, "sees 0 GPUs"),
        ("cuda:1", ONE_GPU, 1, State.FAILED, "sees 1 GPUs"),
        ("auto", OLD_GPU, 1, State.FAILED, "K80: no kernel image"),
    ],
)
def test_devices_are_judged_by_what_was_wished_for(
    device: str, answer: dict[str, Any], drivers: int, state: State, word: str
) -> None:
    finding = process_checks.judged_devices(_settings(device), answer, drivers=drivers)

    assert finding.state == state
    assert word in finding.found
    assert bool(finding.remedy) == (state != State.OK)


def test_an_installation_without_its_database_is_told_without_making_one(
    check: Check, tmp_path: Path
) -> None:
    code, found = check(database_url=f"sqlite:///{tmp_path}/none.db")

    assert code == 1
    assert "there is no database" in found["database"]["found"]
    assert not (tmp_path / "none.db").exists()


def _settings(device: str) -> Settings:
    return load_settings(device=device)


def _model_with_file(database: Database, artifacts: Artifacts, number: int) -> Model:
    content = b"weights"
    path = f"models/{number}.safetensors"
    file = artifacts.absolute(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return given.a_model(database, path=path, size_bytes=len(content))


def test_an_object_store_that_cannot_be_used_is_named_and_not_asked_further(check: Check) -> None:
    code, found = check(artifact_store="nothing://bucket")

    assert code == 1
    assert found["object store"]["state"] == "failed"
    assert "TUNESMITH_ARTIFACT_STORE: nothing:// needs a package" in found["object store"]["found"]
    assert {"models", "leftovers"}.isdisjoint(found)
