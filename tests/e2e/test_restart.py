"""`tunesmith up` ended and started again: running jobs go back to the queue and go on."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from cli.client import Client
from cli.redis_server import free_port
from jobs.settings import child_environment, load_settings
from tests.e2e.conftest import TINY, dataset_body, finished

pytestmark = pytest.mark.e2e

ENDS_WITHIN_S = 10


@pytest.mark.parametrize(
    ("ending", "exit_code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_training_goes_on_after_the_stack_was_ended(
    folder: Path, photos: Path, ending: signal.Signals, exit_code: int
) -> None:
    data_dir, port = folder / ending.name, free_port()

    with _up(data_dir, port, photos) as process, Client(f"http://127.0.0.1:{port}") as client:
        created = client.post("/v1/datasets", dataset_body(photos))
        finished(client, created["job_id"])
        body = {"dataset": created["id"], "epochs": 30, **TINY}
        job_id = client.post("/v1/fine-tunes", body)["id"]
        _wait_for_steps(client, job_id, 5)
        began_s = time.monotonic()
        process.send_signal(ending)
        assert process.wait(timeout=30) == exit_code
        assert time.monotonic() - began_s < ENDS_WITHIN_S
    with _up(data_dir, port, photos), Client(f"http://127.0.0.1:{port}") as client:
        job = finished(client, job_id)
        kinds = [kind for kind, _ in client.follow(job_id)]

    assert job["state"] == "succeeded", job
    assert kinds.count("job.started") == 2
    assert kinds.count("job.requeued") == 1


def test_a_second_stack_on_the_same_folder_is_refused(folder: Path, photos: Path) -> None:
    data_dir, port = folder / "twice", free_port()

    with _up(data_dir, port, photos):
        second = subprocess.run(
            _command(data_dir, free_port(), photos), capture_output=True, text=True, check=False
        )

    assert second.returncode == 1
    assert "in use by another" in second.stderr


@contextmanager
def _up(data_dir: Path, port: int, photos: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = child_environment(load_settings(threads=1))
    for name in ("DATABASE_URL", "REDIS_URL", "ARTIFACTS", "DATASET_ROOTS", "PORT"):
        del environment[f"TUNESMITH_{name}"]
    process = subprocess.Popen(_command(data_dir, port, photos), env=environment)
    try:
        _wait_until_ready(port)
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def _command(data_dir: Path, port: int, photos: Path) -> list[str]:
    arguments = ["--port", str(port), "--data-dir", str(data_dir)]
    return [
        sys.executable, "-m", "cli.main", "up", *arguments, "--dataset-root", str(photos.parent)
    ]  # fmt: skip


def _wait_until_ready(port: int) -> None:
    for _ in range(300):
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the stack was not ready within 30 s")


def _wait_for_steps(client: Client, job_id: str, steps: int) -> None:
    for kind, data in client.follow(job_id):
        trains = kind == "job.progress" and data["phase"] in {"frozen", "unfrozen"}
        if trains and data["progress"]["step"] >= steps:
            return
    raise AssertionError("the job ended before it had taken the steps")
