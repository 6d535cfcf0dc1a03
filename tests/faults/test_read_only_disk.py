"""The artifacts' disk becomes read-only, as a file system does that has met an error."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from jobs import events
from jobs.database import Database
from jobs.job import Job, JobState
from tests.archives import a_zip
from tests.faults.conftest import Start
from tests.faults.given import dataset, ended, fine_tune, job_when
from tests.faults.installation import Installation, wait_until
from tests.faults.laws import assert_ended, assert_history, history_of

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

PAUSE_S = 3.0
ATTEMPTS = 3


@pytest.fixture
def installation(disk: Path, start: Start) -> Installation:
    """An installation whose artifacts lie on a disk of their own."""
    assert disk.is_dir()
    # the disk is small, and a slow machine would fill it with checkpoints
    checkpoint_s = 3600.0
    return start(
        io_pause_s=PAUSE_S, io_attempts=ATTEMPTS, min_free_bytes=0, checkpoint_s=checkpoint_s
    )


def test_a_job_meets_a_read_only_disk_and_is_done_once_it_can_be_written_to(
    installation: Installation, disk: Path
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)

    with _read_only(disk):
        job_id = fine_tune(installation, dataset_id)
        put_off = job_when(database, job_id, _was_put_off, "is put off")
    (job,) = ended(database, job_id)

    assert put_off.state == JobState.QUEUED
    assert assert_ended(database, job.id).attempt > 1
    told = _told(database, job.id)
    assert {each["code"] for each in told} == {"io_error"}
    assert all("Read-only file system" in str(each["message"]) for each in told)
    database.close()


def test_on_a_disk_that_stays_read_only_jobs_fail_clearly_and_what_is_there_can_be_read(
    installation: Installation, disk: Path
) -> None:
    database = installation.database()
    dataset_id = dataset(installation)
    (trained,) = ended(database, fine_tune(installation, dataset_id))

    with _read_only(disk), httpx.Client(base_url=installation.url, timeout=60) as client:
        (failed,) = ended(database, fine_tune(installation, dataset_id))
        samples = client.get(f"/v1/jobs/{trained.id}/samples")
        model = client.get(f"/v1/models/{trained.model_id}/download")
        upload = client.post(
            "/v1/uploads", content=a_zip(), headers={"Content-Type": "application/zip"}
        )
    after = fine_tune(installation, dataset_id)
    ended(database, after)

    assert failed.state == JobState.FAILED
    assert failed.error is not None
    assert (failed.error["code"], failed.error["retryable"]) == ("io_error", True)
    assert "Read-only file system" in failed.error["message"]
    assert assert_history(history_of(database, failed.id)) == ATTEMPTS
    assert samples.status_code == model.status_code == 200
    assert upload.status_code == 503
    assert upload.json()["code"] == "unavailable"
    assert "Read-only file system" in upload.json()["detail"]
    assert upload.headers["Retry-After"]
    assert assert_ended(database, after).attempt == 1
    database.close()


@contextmanager
def _read_only(disk: Path) -> Iterator[None]:
    """Nothing can be written to the disk; what has been can be read."""
    # a trainer whose job has just ended may have its log open for a moment more
    wait_until(lambda: _remounts(disk, "ro"), "nobody writes to the disk")
    try:
        yield
    finally:
        assert _remounts(disk, "rw")


def _remounts(disk: Path, mode: str) -> bool:
    """Whether it could be done; not while it is busy."""
    command = ["/bin/mount", "-o", f"remount,{mode}", str(disk)]
    return subprocess.run(command, check=False).returncode == 0


def _was_put_off(job: Job) -> bool:
    return job.state == JobState.QUEUED and job.attempt > 0


def _told(database: Database, job_id: str) -> list[dict[str, object]]:
    history = events.read_after(database, job_id, 0, limit=10_000)
    return [dict(event.data) for event in history if event.type == "job.requeued"]
