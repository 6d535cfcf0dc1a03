import os
import time
from pathlib import Path

import pytest

from jobs import datasets, models, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.ids import new_dataset_id, new_job_id, new_model_id
from jobs.job import FINAL_STATES, JobState
from jobs.models import Model
from jobs.orphans import orphans, size_bytes, strangers
from jobs.orphans import remove as remove_orphan
from tests.jobs import given

GRACE_S = 3600.0


def written(path: Path, *, ago_s: float = 2 * GRACE_S) -> Path:
    """A file, and the folder that it lies in, as if last written so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    for each in (path, path.parent):
        os.utime(each, (time.time() - ago_s,) * 2)
    return path


def a_model(database: Database, artifacts: Artifacts) -> Path:
    """The file of a model that the database knows."""
    model_id = new_model_id()
    file = written(artifacts.model_file(model_id))
    model = Model(
        id=model_id,
        name=None,
        owner="local",
        job_id="job_1",
        dataset_id="ds_1",
        architecture="resnet34",
        classes=["cat", "dog"],
        card={},
        path=artifacts.relative(file),
        digest="0" * 64,
        size_bytes=1,
        metadata={},
        version=1,
        created_ms=1,
    )
    with database.write() as connection:
        models.add(connection, model)
    return file


def left(artifacts: Artifacts) -> set[Path]:
    return {path for path in artifacts.root.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def oldest(database: Database) -> None:
    """The database is older than everything in the tests."""
    given.a_dataset(database)


def remove(database: Database, artifacts: Artifacts) -> list[Path]:
    """The paths of all orphans, which are gone."""
    found = orphans(database, artifacts, grace_s=GRACE_S)
    return [artifacts.absolute(each.name) for each in found if remove_orphan(artifacts, each)]


def test_where_nothing_was_ever_written_nothing_is_removed(
    database: Database, artifacts: Artifacts
) -> None:
    assert remove(database, artifacts) == []


def test_what_a_killed_process_left_of_a_deleted_job_is_removed(
    database: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, JobState.CANCELLED)
    written(artifacts.attempt_folder(job.id, 1) / "samples-valid.parquet")
    os.utime(artifacts.job_folder(job.id), (1, 1))
    assert remove(database, artifacts) == []

    store.delete_job(database, job.id)

    assert remove(database, artifacts) == [artifacts.job_folder(job.id)]
    assert left(artifacts) == set()


def test_what_a_killed_process_left_of_a_deleted_dataset_is_removed(
    database: Database, artifacts: Artifacts
) -> None:
    kept, gone = given.a_dataset(database), given.a_dataset(database)
    file = written(artifacts.items_file(kept.id))
    written(artifacts.items_file(gone.id))
    verbs.cancel(database, gone.job_id)
    datasets.delete_dataset(database, gone.id)

    assert remove(database, artifacts) == [artifacts.dataset_folder(gone.id)]
    assert left(artifacts) == {file}


def test_a_model_that_no_job_came_to_tell_of_is_removed(
    database: Database, artifacts: Artifacts
) -> None:
    kept = a_model(database, artifacts)
    orphan = written(artifacts.model_file(new_model_id()))
    half = written(orphan.with_name(f".{orphan.name}.7-7.partial"))

    assert set(remove(database, artifacts)) == {orphan, half}
    assert left(artifacts) == {kept}


def test_what_is_younger_than_the_grace_time_is_never_touched(
    database: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    young = {
        written(file, ago_s=GRACE_S / 2)
        for file in (
            artifacts.attempt_folder(new_job_id(), 1) / "log.txt",
            artifacts.items_file(new_dataset_id()),
            artifacts.model_file(new_model_id()),
            artifacts.attempt_folder(job.id, 1) / "checkpoint-3.pt",
            artifacts.attempt_folder(job.id, 1) / ".a.parquet.12.tmp",
        )
    }

    assert remove(database, artifacts) == []
    assert left(artifacts) >= young


def test_one_young_file_keeps_the_whole_folder(database: Database, artifacts: Artifacts) -> None:
    job_id = new_job_id()
    written(artifacts.attempt_folder(job_id, 1) / "log.txt")
    written(artifacts.attempt_folder(job_id, 2) / "log.txt", ago_s=1)

    assert remove(database, artifacts) == []


@pytest.mark.parametrize("state", sorted(set(JobState) - FINAL_STATES))
def test_nothing_of_an_unfinished_job_is_ever_touched(
    state: JobState, database: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, state)
    folder = artifacts.attempt_folder(job.id, 1)
    files = {written(folder / name) for name in ("checkpoint-3.pt", ".x.tmp", "losses-0.npy")}

    assert remove(database, artifacts) == []
    assert left(artifacts) == files


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_a_finished_job_keeps_its_results_and_no_checkpoint(
    state: JobState, database: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, state)
    folder = artifacts.attempt_folder(job.id, 1)
    kept = {written(folder / name) for name in ("samples-valid.parquet", "log.txt")}
    gone = {
        written(folder / "losses-0.npy"),
        written(folder / "checkpoint-3.pt"),
        written(folder / ".checkpoint-6.pt.7-7.partial"),
        written(artifacts.job_folder(job.id) / "plots" / ".confusion.svg.0a.tmp"),
    }

    assert set(remove(database, artifacts)) == gone
    assert left(artifacts) == kept


def test_what_was_arriving_stays_while_its_import_goes_on_and_goes_afterwards(
    database: Database, artifacts: Artifacts
) -> None:
    dataset = given.a_dataset(database)
    folder = artifacts.dataset_folder(dataset.id)
    arriving = {
        written(folder / ".archive-3.partial"),
        written(folder / ".archive-3.json"),
        written(folder / ".archive"),
        written(folder / ".files-copying-1.json"),
    }
    written(folder / ".files-copying-1.partial" / "cat.jpg")
    assert remove(database, artifacts) == []

    verbs.cancel(database, dataset.job_id)

    assert set(remove(database, artifacts)) == {*arriving, folder / ".files-copying-1.partial"}


def test_what_a_lost_database_knew_is_named_and_never_removed(artifacts: Artifacts) -> None:
    """Whoever begins with an empty database can still rebuild the old one from the files."""
    before = {
        written(artifacts.attempt_folder(new_job_id(), 1) / "samples-valid.parquet"),
        written(artifacts.items_file(new_dataset_id())),
        written(artifacts.model_file(new_model_id())),
    }
    young = Database(f"sqlite:///{artifacts.root}/young.db")
    young.migrate()

    assert remove(young, artifacts) == []
    given.a_dataset(young)
    assert remove(young, artifacts) == []
    assert len(strangers(young, artifacts)) == 3

    young.close()
    assert left(artifacts) >= before


def test_nothing_of_this_database_is_strange(database: Database, artifacts: Artifacts) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    written(artifacts.attempt_folder(job.id, 1) / "log.txt")
    written(artifacts.attempt_folder(new_job_id(), 1) / "log.txt")

    assert strangers(database, artifacts) == []


def test_an_exported_file_goes_when_its_model_has_gone(
    database: Database, artifacts: Artifacts
) -> None:
    job = given.job_in(database, JobState.SUCCEEDED)
    model_id = new_model_id()
    own = written(artifacts.model_file(model_id))
    given.a_model(database, id=model_id, job_id=job.id, path=artifacts.relative(own))
    exported = written(artifacts.onnx_file(model_id, "ab" * 32))
    of_nobody = written(artifacts.onnx_file(new_model_id(), "cd" * 32))

    assert remove(database, artifacts) == [of_nobody]

    assert own.exists()
    assert exported.exists()
    assert strangers(database, artifacts) == []


def test_the_size_of_a_folder_is_that_of_all_its_files(artifacts: Artifacts) -> None:
    for name, content in {"a/b/c": b"123", "a/d": b"45", "e": b""}.items():
        written(artifacts.root / name).write_bytes(content)

    assert size_bytes(artifacts.root) == 5
    assert size_bytes(artifacts.root / "a" / "d") == 2
    assert size_bytes(artifacts.root / "nowhere") == 0


def test_a_model_without_a_row_is_spared_while_a_training_older_than_it_goes_on(
    database: Database, artifacts: Artifacts
) -> None:
    """The training may have been suspended between the file and its row, for days."""
    job = given.job_in(database, JobState.RUNNING)
    days_ago_ms = int((time.time() - 100 * GRACE_S) * 1000)
    given.set_columns(database, job.id, started_ms=days_ago_ms)
    older = written(artifacts.model_file(new_model_id()), ago_s=110 * GRACE_S)
    its_own = written(artifacts.model_file(new_model_id()), ago_s=50 * GRACE_S)

    assert remove(database, artifacts) == [older]

    given.set_columns(database, job.id, state="cancelled")
    assert remove(database, artifacts) == [its_own]


def test_names_that_are_not_ours_are_left_alone(database: Database, artifacts: Artifacts) -> None:
    strange = {
        written(artifacts.root / "jobs" / "notes" / "a.txt"),
        written(artifacts.root / "models" / "resnet.pth"),
        written(artifacts.root / "datasets" / "README"),
        written(artifacts.root / "backup" / "job_1"),
    }

    assert remove(database, artifacts) == []
    assert left(artifacts) == strange
