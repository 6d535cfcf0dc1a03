"""The embedded stack as a user starts it, on a folder of its own."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import Stack
from tests.worker.photos import write_photos
from tunesmith_client import Client, Json

TINY: Json = {
    "architecture": "squeezenet1_1",
    "weights": "none",
    "size": 64,
    "presize": 64,
    "batch_size": 4,
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path: a unix socket has to fit."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def photos(folder: Path) -> Path:
    """A folder of 24 photos in two classes, inside the allowed root."""
    write_photos(folder / "photos" / "tiny")
    return folder / "photos" / "tiny"


@pytest.fixture(scope="module")
def stack(folder: Path, photos: Path) -> Iterator[Stack]:
    """A running stack that may read the photos."""
    with Stack(folder / "data", port=0, dataset_roots=(photos.parent,), report=print) as stack:
        stack.wait_until_ready()
        yield stack


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Client]:
    """A client of the running stack; in the end every ledger that was made adds up."""
    with Client(stack.url) as client:
        yield client
        _check_every_ledger(client)


def _check_every_ledger(client: Client) -> None:
    for job in client.get("/v1/jobs", state="succeeded", limit=200)["data"]:
        if "samples" not in job["links"]:
            continue
        aggregate = client.get(job["links"]["samples"], limit=1)["aggregate"]
        confusion = client.get(job["links"]["confusion"])
        assert abs(aggregate["mean_loss"] - aggregate["reported_valid_loss"]) <= 1e-5, job["id"]
        assert aggregate["count"] == confusion["count"], job["id"]


def dataset_body(photos: Path) -> Json:
    """A request for the photos, labelled by a pattern."""
    return {
        "name": "tiny",
        "source": {"type": "path", "path": str(photos)},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
        "split": {"rule": "random", "valid_fraction": 0.25, "seed": 1},
    }


def finished(client: Client, job_id: str) -> Json:
    """The job after its last event."""
    for _ in client.jobs.events(job_id):
        pass
    return client.get(f"/v1/jobs/{job_id}")
