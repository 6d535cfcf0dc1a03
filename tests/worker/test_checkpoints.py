"""Checkpoints that go bad on the disk while a training waits."""

from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import curves, events, models, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState, JobType
from jobs.spec import FineTuneSpec
from ml import checkpoint
from tests.worker.conftest import fine_tune_spec, submit, wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
EPOCHS = 8


@pytest.fixture
def undisturbed(database: Database, work: Work, dataset_id: str) -> Job:
    """A fine-tune that was left alone."""
    job = submit(database, JobType.FINE_TUNE, _spec(dataset_id), dataset_id)
    supervisor = work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)
    supervisor.drain()
    return ended


@pytest.fixture
def waiting(database: Database, work: Work, dataset_id: str) -> Job:
    """The same fine-tune, paused twice: it has two checkpoints."""
    job = submit(database, JobType.FINE_TUNE, _spec(dataset_id), dataset_id)
    first = _paused(database, work, job.id, beyond=0)
    verbs.resume(database, job.id)
    return _paused(database, work, job.id, beyond=first.checkpoint_step)


def test_a_training_whose_newest_checkpoint_is_bad_ends_with_the_bits_of_one_left_alone(
    database: Database, work: Work, artifacts: Artifacts, undisturbed: Job, waiting: Job
) -> None:
    newest, earlier = _files(artifacts, waiting)
    _flip_a_bit(newest)

    ended = _resumed(database, work, waiting)

    assert ended.state == JobState.SUCCEEDED, ended.error
    (told,) = _told(database, waiting)
    assert f"{newest.name} cannot be used: its bytes do not have the SHA-256" in told
    assert told.endswith(f"goes on from the one before, after step {_step(earlier)}")
    _assert_equal_runs(database, artifacts, undisturbed, waiting)


@pytest.mark.slow
def test_a_training_without_a_good_checkpoint_begins_anew_and_ends_with_the_same_bits(
    database: Database, work: Work, artifacts: Artifacts, undisturbed: Job, waiting: Job
) -> None:
    newest, earlier = _files(artifacts, waiting)
    newest.unlink()
    earlier.write_bytes(b"")

    ended = _resumed(database, work, waiting)

    assert ended.state == JobState.SUCCEEDED, ended.error
    first, second = _told(database, waiting)
    assert "No such file" in first
    assert second.endswith("begins anew")
    _assert_equal_runs(database, artifacts, undisturbed, waiting)


def test_a_checkpoint_of_another_version_fails_the_job_and_names_both_formats(
    database: Database, work: Work, artifacts: Artifacts, waiting: Job
) -> None:
    """Beginning anew would throw away what that version can still use."""
    for file in _files(artifacts, waiting):
        content = file.read_bytes()
        file.write_bytes(content.replace(checkpoint.MAGIC, b"tunesmith checkpoint 1\n", 1))

    ended = _resumed(database, work, waiting)

    assert ended.error is not None
    assert ended.error["code"] == "checkpoint_corrupt"
    assert f"in the format 1; this one reads {checkpoint.FORMAT}" in ended.error["message"]
    assert _told(database, waiting) == []


def _spec(dataset_id: str) -> FineTuneSpec:
    return fine_tune_spec(dataset_id, epochs=EPOCHS)


def _paused(database: Database, work: Work, job_id: str, *, beyond: int) -> Job:
    supervisor = work("train")
    wait_for(database, job_id, lambda job: _steps(job) > beyond)
    verbs.pause(database, job_id)
    paused = wait_for(database, job_id, lambda job: job.state == JobState.PAUSED)
    supervisor.drain()
    return paused


def _resumed(database: Database, work: Work, waiting: Job) -> Job:
    verbs.resume(database, waiting.id)
    work("train")
    return wait_for(database, waiting.id, lambda job: job.is_terminal)


def _steps(job: Job) -> int:
    return int((job.progress or {}).get("step") or 0) if job.state == JobState.RUNNING else 0


def _files(artifacts: Artifacts, job: Job) -> tuple[Path, Path]:
    """The newest checkpoint, and the one before."""
    found = set(artifacts.job_folder(job.id).glob("*/checkpoint-*"))
    newest = artifacts.absolute(str(job.checkpoint))
    earlier = artifacts.absolute(str(job.earlier_checkpoint))
    assert found == {newest, earlier}
    return newest, earlier


def _step(file: Path) -> int:
    return int(file.stem.rpartition("-")[2])


def _flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _told(database: Database, job: Job) -> list[str]:
    history = events.read_after(database, job.id, 0, limit=10_000)
    warnings = [event.data for event in history if event.type == "job.warning"]
    return [each["detail"] for each in warnings if each["code"] == "checkpoint_corrupt"]


def _assert_equal_runs(
    database: Database, artifacts: Artifacts, undisturbed: Job, disturbed: Job
) -> None:
    first, second = (curves.read_points(database, each.id) for each in (undisturbed, disturbed))
    assert first == second
    weights = {
        model.job_id: artifacts.absolute(model.path).read_bytes()
        for model in models.list_models(database, models.ModelFilter(), after=None, limit=10)
    }
    assert weights[undisturbed.id] == weights[disturbed.id]
