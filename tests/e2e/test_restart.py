"""`tunesmith up` ended and started again: running jobs go back to the queue and go on."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from cli.redis_server import free_port
from jobs.settings import child_environment, load_settings
from tests.e2e.conftest import TINY, dataset_body, finished
from tunesmith_client import Client, Json

pytestmark = pytest.mark.e2e

ENDS_WITHIN_S = 10
QUICK = {
    "lease_s": 8.0, "renew_s": 1.0, "sweep_s": 1.0, "checkpoint_s": 0.2
}  # fmt: skip
FINAL = {"job.succeeded", "job.failed", "job.cancelled"}


@pytest.mark.parametrize(
    ("ending", "exit_code"),
    [
        pytest.param(signal.SIGINT, 0, marks=pytest.mark.slow),
        (signal.SIGTERM, 0),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_training_goes_on_after_the_stack_was_ended(
    folder: Path, photos: Path, ending: signal.Signals, exit_code: int
) -> None:
    data_dir, port = folder / ending.name, free_port()

    with _up(data_dir, port, photos) as process, _client(port) as client:
        created = client.post("/v1/datasets", dataset_body(photos))
        finished(client, created["job_id"])
        body = {"dataset": created["id"], "epochs": 12, **TINY}
        job_id = client.post("/v1/fine-tunes", body)["id"]
        _wait_for_steps(client, job_id, 5)
        began_s = time.monotonic()
        process.send_signal(ending)
        assert process.wait(timeout=30) == exit_code
        assert time.monotonic() - began_s < ENDS_WITHIN_S
    with _up(data_dir, port, photos), _client(port) as client:
        job = finished(client, job_id)
        kinds = [event.type for event in client.jobs.events(job_id)]

    assert job["state"] == "succeeded", job
    assert kinds.count("job.started") == 2
    assert kinds.count("job.requeued") == 1


def test_after_everything_was_killed_each_job_runs_to_its_end_as_if_nothing_had_happened(
    folder: Path, photos: Path
) -> None:
    data_dir, port = folder / "all-killed", free_port()

    with _up(data_dir, port, photos, **QUICK) as process, _client(port) as client:
        dataset = client.post("/v1/datasets", dataset_body(photos))
        finished(client, dataset["job_id"])
        undisturbed, killed = (_submit(client, dataset["id"], epochs=12) for _ in range(2))
        queued = [_submit(client, dataset["id"], epochs=1, seed=seed) for seed in range(2)]
        finished(client, undisturbed)
        _wait_for_steps(client, killed, 40)
        _kill_all(_tree_of(process.pid))
    with _up(data_dir, port, photos, **QUICK), _client(port) as client:
        jobs = [finished(client, job_id) for job_id in (undisturbed, killed, *queued)]
        histories = [_history(client, job["id"]) for job in jobs]
        runs = [_run(client, job) for job in jobs[:2]]

    assert [job["state"] for job in jobs] == ["succeeded"] * 4
    assert [kinds.count("job.started") for kinds in histories] == [1, 2, 1, 1]
    again = histories[1].index("job.requeued")
    assert "job.checkpoint_saved" in histories[1][:again]
    _assert_equal_runs(*runs)


def test_a_stack_begins_when_the_last_process_of_a_killed_one_has_ended(
    folder: Path, photos: Path
) -> None:
    data_dir, port = folder / "left-over", free_port()

    with _up(data_dir, port, photos) as process:
        children = _children_of(process.pid)
        # frozen, they cannot follow the request to end that their parent's death is
        for pid in children:
            os.kill(pid, signal.SIGSTOP)
        process.kill()
    with _started(data_dir, port, photos) as second:
        assert second.stdout is not None
        assert "waiting until the processes of an earlier run" in second.stdout.readline()
        for pid in children:
            os.kill(pid, signal.SIGCONT)
        _wait_until_up(second)
        with _client(port) as client:
            assert client.get("/v1/jobs")["data"] == []
        assert not children & _running()


def test_a_second_stack_on_the_same_folder_is_refused(folder: Path, photos: Path) -> None:
    data_dir, port = folder / "twice", free_port()

    with _up(data_dir, port, photos):
        second = subprocess.run(
            _command(data_dir, free_port(), photos), capture_output=True, text=True, check=False
        )

    assert second.returncode == 1
    assert "in use by another" in second.stderr


def test_a_stack_whose_port_another_program_has_is_refused(folder: Path, photos: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        second = subprocess.run(
            _command(folder / "port", port, photos), capture_output=True, text=True, check=False
        )

    assert second.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be had" in second.stderr


# --- a stack in a process of its own --------------------------------------------------------


@contextmanager
def _up(
    data_dir: Path, port: int, photos: Path, **settings: float
) -> Iterator["subprocess.Popen[str]"]:
    with _started(data_dir, port, photos, **settings) as process:
        _wait_until_up(process)
        yield process


@contextmanager
def _started(
    data_dir: Path, port: int, photos: Path, **settings: float
) -> Iterator["subprocess.Popen[str]"]:
    environment = child_environment(load_settings(threads=1, **settings))
    for name in ("DATABASE_URL", "REDIS_URL", "ARTIFACTS", "DATASET_ROOTS", "PORT"):
        del environment[f"TUNESMITH_{name}"]
    process = subprocess.Popen(
        _command(data_dir, port, photos), env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _command(data_dir: Path, port: int, photos: Path) -> list[str]:
    arguments = ["--port", str(port), "--data-dir", str(data_dir)]
    return [
        sys.executable, "-m", "cli.main", "up", *arguments, "--dataset-root", str(photos.parent)
    ]  # fmt: skip


def _wait_until_up(process: "subprocess.Popen[str]") -> None:
    """The stack itself has said so: an answer at its port could be another's."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "tunesmith is up" in line:
            return
    raise AssertionError(f"the stack ended: {''.join(lines)}")


def _client(port: int) -> Client:
    return Client(f"http://127.0.0.1:{port}")


# --- processes ------------------------------------------------------------------------------


def _kill_all(pids: set[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until_s = time.monotonic() + ENDS_WITHIN_S
    while pids & _running():
        assert time.monotonic() < until_s, f"of {pids} still {pids & _running()}"
        time.sleep(0.02)


def _tree_of(pid: int) -> set[int]:
    """The process and all its descendants."""
    return {pid}.union(*(_tree_of(child) for child in _children_of(pid)))


def _children_of(pid: int) -> set[int]:
    return {child for child, parent in _parents().items() if parent == pid}


def _running() -> set[int]:
    return set(_parents())


def _parents() -> dict[int, int]:
    """The parent of every process that has not ended."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state not in {"Z", "X"}:
            found[int(status.parent.name)] = int(parent)
    return found


# --- jobs -----------------------------------------------------------------------------------


def _submit(client: Client, dataset_id: str, **changes: int) -> str:
    body = {"dataset": dataset_id, **TINY, **changes}
    job_id: str = client.post("/v1/fine-tunes", body)["id"]
    return job_id


def _history(client: Client, job_id: str) -> list[str]:
    """The types of the job's events, numbered without a gap, of which only the last is final."""
    events = list(_events(client, job_id))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert [kind for kind in kinds if kind in FINAL] == kinds[-1:]
    return kinds


def _events(client: Client, job_id: str) -> Iterator[Json]:
    query: Json = {"limit": 200}
    while True:
        page = client.get(f"/v1/jobs/{job_id}/events", **query)
        yield from page["data"]
        if not page["has_more"]:
            return
        query["after"] = page["next_cursor"]


def _run(client: Client, job: Json) -> tuple[Json, bytes]:
    """The curve and the model's file."""
    curve = client.get(f"/v1/jobs/{job['id']}/loss-curve")
    return curve, client.download(f"/v1/models/{job['model_id']}/download")


def _assert_equal_runs(first: tuple[Json, bytes], second: tuple[Json, bytes]) -> None:
    for (curve, _), other in ((first, second[0]), (second, first[0])):
        assert curve["steps"] == other["steps"]
        for column in curve["epochs"].keys() - {"seconds"}:
            assert curve["epochs"][column] == other["epochs"][column]
    weights, others = load(first[1]), load(second[1])
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        np.testing.assert_array_equal(tensor, others[name])


def _wait_for_steps(client: Client, job_id: str, steps: int) -> None:
    for event in client.jobs.events(job_id):
        trains = event.type == "job.progress" and event.data["phase"] in {"frozen", "unfrozen"}
        if trains and event.data["progress"]["step"] >= steps:
            return
    raise AssertionError("the job ended before it had taken the steps")
