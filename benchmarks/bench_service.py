"""Our side: jobs over HTTP on a warm worker, each from its POST to its terminal state."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from job_times import JobTime, timed
from process_memory import Peak, peak_of_tree

from cli.stack import Stack
from jobs.artifacts import Artifacts
from tunesmith_client import Client, Json

PRESIZE, SIZE, BATCH_SIZE = 460, 224, 32
LR_FIND, FINE_TUNE, EVALUATION = "/v1/lr-finds", "/v1/fine-tunes", "/v1/evaluations"


@dataclass(frozen=True, slots=True)
class Service:
    """A running stack whose train worker has done a job already."""

    client: Client
    pixels: Path

    def register(self, name: str, folder: Path) -> Json:
        """The imported dataset of a folder with train/ and valid/, with its ``import_s``."""
        body = {
            "name": name,
            "source": {"type": "path", "path": str(folder)},
            "labels": {"rule": "parent_folder"},
            "split": {"rule": "folders"},
        }
        before = {dataset["id"] for dataset in self.client.get("/v1/datasets")["data"]}
        time = timed(self.client, f"import of {name}", "/v1/datasets", body, {})
        (dataset,) = [
            each for each in self.client.get("/v1/datasets")["data"] if each["id"] not in before
        ]
        imported: Json = dataset | {"import_s": time.total_s}
        return imported

    def forget_pixels(self) -> None:
        """The next job presizes its photos anew."""
        shutil.rmtree(self.pixels, ignore_errors=True)

    def run(self, path: str, body: Json, images: dict[str, int] | None = None) -> JobTime:
        """The job of this body has succeeded."""
        return timed(self.client, path, path, body, images or {})

    def job(self, job_id: str) -> Json:
        """The job as it is now."""
        job: Json = self.client.get(f"/v1/jobs/{job_id}")
        return job


@contextmanager
def a_service(folder: Path, photos: Path) -> Iterator[Service]:
    """A stack of its own in the folder, which may read the photos; it has run one short job."""
    with Stack(folder, port=0, dataset_roots=(photos,), report=print, is_private=True) as stack:
        stack.wait_until_ready()
        with Client(stack.url) as client:
            service = Service(client, Artifacts(stack.settings.artifacts).pixels_folder())
            _warm_up(service)
            yield service


def _warm_up(service: Service) -> None:
    sample = {
        "name": "warm-up",
        "source": {"type": "sample", "photos_per_class": 8},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    }
    timed(service.client, "warm-up", "/v1/datasets", sample, {})
    (dataset,) = service.client.get("/v1/datasets")["data"]
    body = {"dataset": dataset["id"], "weights": "none", "presize": 64, "size": 64}
    service.run(LR_FIND, {**body, "batch_size": 8, "num_steps": 20})


def training(dataset: Json, arch: str, *, weights: str, seed: int, **changes: object) -> Json:
    """What a training of the benchmark asks for."""
    return {
        "dataset": dataset["id"],
        "architecture": arch,
        "weights": weights,
        "presize": PRESIZE,
        "size": SIZE,
        "batch_size": BATCH_SIZE,
        "seed": seed,
        **changes,
    }


@contextmanager
def stack_memory() -> Iterator[Peak]:
    """Peak of all processes of the stack, this program aside."""
    own: set[int] = {os.getpid()}
    with peak_of_tree(os.getpid(), without=own) as peak:
        yield peak
