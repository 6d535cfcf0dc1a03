"""The artifacts' disk full: the job that needs it says so, its neighbours go on."""

import shutil
from pathlib import Path

import httpx
import pytest

from jobs.database import Database
from jobs.job import Job, JobState
from tests.faults.conftest import Start
from tests.faults.given import (
    TINY,
    Json,
    Patient,
    dataset,
    dataset_body,
    ended,
    fine_tune,
    fine_tune_body,
    job_when,
)
from tests.faults.installation import Installation, Roster
from tests.faults.laws import assert_ended

pytestmark = pytest.mark.e2e

LEASE_S = 60.0
LEFT_BYTES = 1 << 20
"""Less than a checkpoint, more than everything else that a training writes on its way."""


@pytest.fixture
def installation(disk: Path, start: Start) -> Installation:
    """An installation on that disk; the database lies elsewhere."""
    assert disk.is_dir()
    return start(Roster(trains=2), lease_s=LEASE_S, checkpoint_s=0.5, min_free_bytes=0)


def test_a_training_whose_checkpoint_does_not_fit_fails_and_its_neighbours_go_on(
    installation: Installation, disk: Path
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    job_id = fine_tune(installation, dataset_id, epochs=400)
    job_when(database, job_id, lambda job: job.checkpoint is not None, "has a checkpoint")

    _fill(disk, leave_bytes=LEFT_BYTES)
    neighbour = _lr_find(installation, dataset_id)
    (failed, found) = ended(database, job_id, neighbour)
    _free(disk)
    after = fine_tune(installation, dataset_id)
    ended(database, after)

    _assert_disk_full(database, failed)
    assert found.state == JobState.SUCCEEDED, found.error
    assert assert_ended(database, after).attempt == 1
    database.close()


@pytest.mark.faults
def test_whatever_a_job_cannot_write_it_fails_with_disk_full_and_succeeds_when_there_is_space(
    installation: Installation, disk: Path
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    (trained,) = ended(database, fine_tune(installation, dataset_id))
    requests: dict[str, tuple[str, Json]] = {
        "ledger": ("/v1/evaluations", {"model": trained.model_id, "dataset": dataset_id}),
        "pixels": ("/v1/fine-tunes", fine_tune_body(dataset_id, presize=68)),
        "losses of an epoch": ("/v1/fine-tunes", fine_tune_body(dataset_id)),
    }
    imports: dict[str, tuple[str, Json]] = {
        "thumbnails": ("/v1/datasets", dataset_body(_folder_of(installation), seed=2)),
        "drawn photos": ("/v1/datasets", _sample()),
    }

    with installation.frozen("prepare-0"):
        # no request for a dataset is accepted once the disk is full
        failed = {name: _submit(installation, *request) for name, request in imports.items()}
        _fill(disk)
    found = _lr_find(installation, dataset_id)
    failed |= {name: _submit(installation, *request) for name, request in requests.items()}
    ended(database, found, *failed.values())
    for request in imports.values():
        assert _refusal(installation, *request) == (507, "disk_full")
    _free(disk)
    requests |= imports
    again = {name: _submit(installation, *request) for name, request in requests.items()}
    ended(database, *again.values())

    # a job that writes nothing but its log
    assert assert_ended(database, found).attempt == 1
    for job_id in failed.values():
        _assert_disk_full(database, assert_ended(database, job_id, state=JobState.FAILED))
    for job_id in again.values():
        assert assert_ended(database, job_id).attempt == 1
    database.close()


def _assert_disk_full(database: Database, job: Job) -> None:
    assert_ended(database, job.id, state=JobState.FAILED)
    assert job.error is not None
    assert job.error["code"] == "disk_full", job.error
    assert job.error["retryable"] is True
    assert job.attempt == 1


def _fill(disk: Path, *, leave_bytes: int = 0) -> None:
    """No more than that is left on the disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while shutil.disk_usage(disk).free:
            file.write(bytes(shutil.disk_usage(disk).free))
        file.truncate(max(0, file.tell() - leave_bytes))


def _free(disk: Path) -> None:
    (disk / "filler").unlink()


def _submit(installation: Installation, path: str, body: Json) -> str:
    with Patient(installation) as client:
        made = client.post(path, body)
        return str(made.get("job_id") or made["id"])


def _refusal(installation: Installation, path: str, body: Json) -> tuple[int, str]:
    response = httpx.post(f"{installation.url}{path}", json=body)
    return response.status_code, response.json()["code"]


def _lr_find(installation: Installation, dataset_id: str) -> str:
    return _submit(installation, "/v1/lr-finds", {"dataset": dataset_id, "num_steps": 20, **TINY})


def _folder_of(installation: Installation) -> str:
    (folder,) = installation.settings.dataset_roots[0].iterdir()
    return str(folder)


def _sample() -> Json:
    return {
        "name": "drawn",
        "source": {"type": "sample", "photos_per_class": 8},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    }
