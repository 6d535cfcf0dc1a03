"""Trainings on a real worker that cannot succeed, and what they say; the worker works on."""

import os
import pickle
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from jobs import events, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import LEASED_STATES, Job, JobState, JobType
from jobs.settings import Settings
from jobs.spec import FineTuneSpec, LrFindSpec
from tests.jobs.given import set_columns
from tests.worker.conftest import TINY, fine_tune_spec, import_folder, submit, wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
Train = Callable[..., Job]

LR_FIND = {"num_steps": 20, **TINY}


@pytest.fixture
def photos(quick: Settings) -> Path:
    """The folder that the dataset was imported from."""
    return quick.dataset_roots[0] / "tiny"


@pytest.fixture
def train(database: Database, work: Work) -> Train:
    """A fine-tune of one epoch on a dataset, to its end."""

    def run(dataset_id: str, **changes: object) -> Job:
        spec = fine_tune_spec(dataset_id, **{"epochs": 1, "freeze_epochs": 0, **changes})
        job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
        work("train")
        return wait_for(database, job.id, lambda job: job.is_terminal)

    return run


def test_photos_that_changed_after_the_import_are_named(
    train: Train, dataset_id: str, photos: Path, tmp_path: Path
) -> None:
    photo, other = photos / "red_3.jpg", photos / "red_4.jpg"
    whole = photo.read_bytes()
    shutil.copy(photo, tmp_path / "elsewhere.jpg")
    changes: dict[str, Callable[[], object]] = {
        "there is no such file any more": photo.unlink,
        "it is not the file that was imported": lambda: photo.write_bytes(other.read_bytes()),
    }
    for reason, change in changes.items():
        change()

        error = _error(train(dataset_id))

        assert error["code"] == "unreadable_images"
        assert error["message"] == f"'red_3.jpg' cannot be read: {reason}"
        assert "register the dataset again" in error["hint"]

    photo.write_bytes(whole)
    assert train(dataset_id).state == JobState.SUCCEEDED


def test_a_job_whose_log_cannot_be_written_tells_why_it_fails_all_the_same(
    database: Database, work: Work, dataset_id: str, photos: Path, artifacts: Artifacts
) -> None:
    shutil.rmtree(photos)
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)
    log = artifacts.log_file(job.id, 1)
    log.parent.mkdir(parents=True)
    # a device that is always full
    log.symlink_to("/dev/full")

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert _error(ended)["code"] == "source_unreachable"
    assert ended.attempt == 1


def test_a_job_whose_log_cannot_be_made_fails_with_the_reason(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)
    artifacts.job_folder(job.id).parent.mkdir(parents=True, exist_ok=True)
    artifacts.job_folder(job.id).write_bytes(b"no folder")

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert _error(ended)["code"] == "internal"
    assert "NotADirectoryError" in _error(ended)["message"]
    assert ended.attempt == 1


def test_a_job_whose_device_is_away_for_a_moment_is_tried_again_later_and_succeeds(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts, no_device: Path
) -> None:
    spec = fine_tune_spec(dataset_id, epochs=1, freeze_epochs=0)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    _lead_to(no_device, artifacts.log_file(job.id, 1))

    ended = _work_until_it_ends(database, work, job.id)

    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)
    (told,) = _told(database, job.id, "job.requeued")
    assert (told["code"], told["attempts_left"]) == ("io_error", 2)
    assert "No such device" in told["message"]


def test_a_job_whose_device_stays_away_fails_at_its_third_attempt(
    database: Database, work: Work, dataset_id: str, artifacts: Artifacts, no_device: Path
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)
    for fence in (1, 2, 3):
        _lead_to(no_device, artifacts.log_file(job.id, fence))

    ended = _work_until_it_ends(database, work, job.id)

    assert ended.attempt == 3
    assert (_error(ended)["code"], _error(ended)["retryable"]) == ("io_error", True)
    assert len(_told(database, job.id, "job.requeued")) == 2


@pytest.fixture
def no_device() -> Iterator[Path]:
    """A file that cannot be opened, as that of a disk which is gone."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as nobody:
        path = Path(folder) / "socket"
        nobody.bind(str(path))
        yield path


def _lead_to(target: Path, file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.symlink_to(target)


def _work_until_it_ends(database: Database, work: Work, job_id: str) -> Job:
    """The job, for which a worker looks again as soon as its pause is over."""
    for fence in range(1, 10):
        work("train")
        job = wait_for(database, job_id, partial(_has_left, fence))
        if job.is_terminal:
            return job
        set_columns(database, job_id, not_before_ms=0)
    raise AssertionError(job_id)


def _has_left(fence: int, job: Job) -> bool:
    """Whether the attempt with this fence is over."""
    return job.fence >= fence and job.state not in LEASED_STATES


def _told(database: Database, job_id: str, kind: str) -> list[Any]:
    history = events.read_after(database, job_id, 0, limit=1000)
    return [event.data for event in history if event.type == kind]


def test_a_dataset_whose_folder_is_gone_is_unreachable(
    train: Train, dataset_id: str, photos: Path
) -> None:
    shutil.rmtree(photos)

    error = _error(train(dataset_id))

    assert error["code"] == "source_unreachable"
    assert str(photos)[-50:] in error["message"]


def test_a_dataset_whose_folder_leads_out_of_the_roots_is_forbidden(
    train: Train, dataset_id: str, photos: Path, tmp_path: Path
) -> None:
    shutil.move(photos, tmp_path / "outside")
    photos.symlink_to(tmp_path / "outside")

    assert _error(train(dataset_id))["code"] == "source_forbidden"


class _Runs:
    """A pickle of it makes a folder when it is loaded carelessly."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_files_of_weights_that_cannot_be_used_say_why_and_run_nothing(
    train: Train, dataset_id: str, photos: Path, tmp_path: Path
) -> None:
    (photos / "code.pth").write_bytes(pickle.dumps(_Runs(tmp_path / "made"), 2))
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), photos / "resnet.pth")
    (photos / "cut.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    reasons = {
        "code.pth": "a pickle can run code",
        "resnet.pth": "does not fit squeezenet1_1",
        "cut.safetensors": "is not a file of weights",
        "missing.pth": "does not exist",
    }
    for name, reason in reasons.items():
        error = _error(train(dataset_id, weights={"path": str(photos / name)}))

        assert reason in error["message"]
        # a file that is missing is found first; no photo is waited for
        assert error["phase"] == (None if name == "missing.pth" else "presizing")
    assert not (tmp_path / "made").exists()


def test_a_rate_that_is_far_too_high_diverges(train: Train, dataset_id: str) -> None:
    rates = {"lowest": 100, "highest": 100}

    error = _error(train(dataset_id, learning_rate=rates, epochs=10))

    assert error["code"] == "loss_diverged"
    assert "lower learning_rate" in error["hint"]


def test_a_batch_of_more_photos_than_there_are_is_reduced_with_a_warning(
    train: Train, database: Database, dataset_id: str
) -> None:
    job = train(dataset_id, batch_size=4096)

    assert job.state == JobState.SUCCEEDED, job.error
    warnings = {
        event.data["code"]: event.data["detail"]
        for event in events.read_after(database, job.id, 0, limit=1000)
        if event.type == "job.warning"
    }
    assert "4096 became 18" in warnings["batch_size_reduced"]


def test_without_a_valid_part_a_model_is_trained_and_no_loss_reported(
    train: Train, database: Database, work: Work, quick: Settings
) -> None:
    folder = quick.dataset_roots[0] / "train-only"
    write_photos(folder / "train", per_class=4)
    dataset = import_folder(database, work, folder, split={"rule": "folders"})

    job = train(dataset.id)

    assert job.state == JobState.SUCCEEDED, job.error
    assert (job.result["samples"], job.result["reported_valid_loss"]) == ({}, None)
    assert job.model_id is not None


def test_a_rate_from_a_find_that_was_deleted_meanwhile_names_the_find(
    database: Database, work: Work, dataset_id: str
) -> None:
    find = LrFindSpec.model_validate({"dataset": dataset_id, **LR_FIND})
    found = submit(database, JobType.LR_FIND, find, dataset_id)
    supervisor = work("train")
    wait_for(database, found.id, lambda job: job.is_terminal)
    supervisor.drain()
    rate = {"from_job": found.id, "rule": "valley"}
    spec: FineTuneSpec = fine_tune_spec(dataset_id, learning_rate=rate)
    job = submit(database, JobType.FINE_TUNE, spec, dataset_id)
    store.delete_job(database, found.id)

    work("train")
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    error = _error(ended)
    assert error["code"] == "dependency_failed"
    assert found.id in error["message"]


def _error(job: Job) -> dict[str, Any]:
    assert job.state == JobState.FAILED
    assert job.error is not None
    return dict(job.error)


def test_a_precision_that_the_device_lacks_is_replaced_with_a_warning(
    database: Database, train: Train, dataset_id: str
) -> None:
    job = train(dataset_id, precision="fp16")

    assert job.state == JobState.SUCCEEDED, job.error
    assert job.resolved["precision"] == {"value": "fp32", "origin": "hardware"}
    warnings = [
        event.data["code"]
        for event in events.read_after(database, job.id, 0)
        if event.type == "job.warning"
    ]
    assert "precision_replaced" in warnings
