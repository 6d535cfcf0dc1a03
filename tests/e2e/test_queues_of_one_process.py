"""One process serves all queues of the embedded stack, and a busy one keeps no other waiting."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.redis_server import free_port
from cli.stack import Stack
from tests.e2e.conftest import TINY, dataset_body, finished
from tunesmith_client import Client, Json

pytestmark = pytest.mark.e2e

LOOK_S = 60.0
"""Whoever is served sooner was rung for."""


@pytest.fixture(scope="module")
def stack(folder: Path, photos: Path) -> Iterator[Stack]:
    """A running stack whose workers hardly ever look without being rung."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TUNESMITH_LOOK_S", str(LOOK_S))
        patched.setenv("TUNESMITH_METRICS_PORT", str(free_port()))
        with Stack(folder / "data", port=0, dataset_roots=(photos.parent,), report=print) as stack:
            stack.wait_until_ready()
            yield stack


def test_jobs_of_other_queues_are_rung_for_while_one_queue_is_busy(
    client: Client, photos: Path
) -> None:
    dataset = imported(client, photos, "first")
    long_one = client.post("/v1/fine-tunes", {"dataset": dataset, "epochs": 500, **TINY})["id"]
    until_running(client, long_one)
    # one bell each that the busy queue cannot follow
    waiting = [
        client.post("/v1/fine-tunes", {"dataset": dataset, "epochs": 1, **TINY})["id"]
        for _ in range(3)
    ]

    began_s = time.monotonic()
    imported(client, photos, "second")
    took_s = time.monotonic() - began_s
    client.post(f"/v1/jobs/{long_one}/cancel", {})
    states = [finished(client, job)["state"] for job in waiting]

    assert took_s < LOOK_S / 2
    assert states == ["succeeded"] * 3
    assert client.get(f"/v1/jobs/{long_one}")["state"] == "cancelled"


def test_the_process_is_a_worker_for_each_queue(client: Client) -> None:
    workers = client.get("/v1/queue")["workers"]

    assert sorted(worker["queue"] for worker in workers) == ["predict", "prepare", "train"]
    assert len({worker["id"].partition("@")[2] for worker in workers}) == 1
    # what it counts is shown once
    assert [worker["queue"] for worker in workers if worker["metrics"]] == ["train"]


def imported(client: Client, photos: Path, name: str) -> str:
    """The photos as a dataset of this name."""
    created: Json = client.post("/v1/datasets", dataset_body(photos) | {"name": name})
    assert finished(client, created["job_id"])["state"] == "succeeded"
    return str(created["id"])


def until_running(client: Client, job_id: str) -> None:
    """The job has taken a step."""
    until_s = time.monotonic() + LOOK_S
    while not (client.get(f"/v1/jobs/{job_id}")["progress"] or {}).get("step"):
        assert time.monotonic() < until_s
        time.sleep(0.05)
