"""`tunesmith up --wait` and `tunesmith down`: a stack without a terminal."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.folder_lock import holder, is_free
from cli.redis_server import free_port

pytestmark = pytest.mark.e2e

Told = subprocess.CompletedProcess[str]


@pytest.fixture
def data_dir(folder: Path) -> Iterator[Path]:
    """A folder on which nothing runs after the test."""
    yield folder / "background"
    assert _tunesmith("down", folder / "background").returncode == 0


def test_a_stack_in_the_background_answers_until_it_is_told_to_end(data_dir: Path) -> None:
    port = free_port()

    up = _tunesmith("up", data_dir, "--wait", "--port", str(port))
    answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
    down = _tunesmith("down", data_dir)

    assert up.returncode == 0, up.stderr
    assert f"http://127.0.0.1:{port}/docs" in up.stdout
    assert f"tunesmith down --data-dir {data_dir}" in up.stdout
    assert answer.status_code == httpx.codes.OK
    assert down.returncode == 0, down.stderr
    assert is_free(data_dir)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/readyz")
    assert "ending; running jobs go back to the queue" in (data_dir / "logs/up.log").read_text()


def test_a_stack_that_others_can_reach_asks_for_the_key_that_it_leaves_in_a_file(
    data_dir: Path,
) -> None:
    port = free_port()

    up = _tunesmith("up", data_dir, "--wait", "--port", str(port), TUNESMITH_HOST="0.0.0.0")  # noqa: S104
    file = data_dir / "admin-key"
    secret = file.read_text().strip()
    jobs = f"http://127.0.0.1:{port}/v1/jobs"
    without = httpx.get(jobs)
    with_key = httpx.get(jobs, headers={"Authorization": f"Bearer {secret}"})

    assert up.returncode == 0, up.stderr
    assert (without.status_code, with_key.status_code) == (401, 200)
    assert file.stat().st_mode & 0o777 == 0o600
    assert all(secret not in log.read_text() for log in (data_dir / "logs").iterdir())


def test_a_stack_that_cannot_start_in_the_background_says_why(data_dir: Path) -> None:
    first = _tunesmith("up", data_dir, "--wait", "--port", "0")
    second = _tunesmith("up", data_dir, "--wait", "--port", "0")

    assert first.returncode == 0, first.stderr
    assert second.returncode == 1
    assert "it ended with exit code 1" in second.stderr
    assert f"in use by another `tunesmith up` (process {holder(data_dir)})" in second.stderr


def test_ending_a_stack_that_does_not_run_is_no_error(data_dir: Path) -> None:
    down = _tunesmith("down", data_dir)

    assert down.returncode == 0
    assert down.stdout == f"no stack runs on {data_dir}\n"


def _tunesmith(command: str, data_dir: Path, *arguments: str, **variables: str) -> Told:
    return subprocess.run(
        [sys.executable, "-m", "cli.main", command, "--data-dir", str(data_dir), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **variables},  # noqa: TID251 - the test's own
    )
