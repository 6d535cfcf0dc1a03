"""What the engine costs a training: the same fine-tune as a job, and by `ml` alone.

Both train on the same stored pixels with the same seed and threads, so they end with the same
bits. What is compared is the time from the first training phase to the end of the last epoch:
between these a job also writes its curve, its events and its checkpoints, and is watched.
"""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from job_events import ended

from jobs.artifacts import Artifacts
from jobs.settings import Settings
from jobs.spec import FineTuneSpec
from ml.cache import Form, Pixels
from ml.determinism import prefer_repeatable_kernels
from ml.device import pick_device
from ml.photos import LabelledPhoto
from ml.presized_pixels import open_pixels
from ml.progress import Command, EpochReport, StepReport
from ml.train import fine_tune
from ml.training_state import TrainingState
from tunesmith_client import Client, Json
from worker.items import read_items
from worker.translate import Surroundings, fine_tune_config

TRAINING: Json = {
    "architecture": "resnet18",
    "weights": "none",
    "presize": 128,
    "size": 96,
    "batch_size": 16,
    "freeze_epochs": 0,
    "discriminative": "off",
}
_TRAINED = {"frozen", "unfrozen"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One training: its time from the first step to the last epoch's end, and its last loss."""

    seconds: float
    valid_loss: float


class _Watch:
    """A listener that only looks at the clock."""

    def __init__(self) -> None:
        self.began_s: float | None = None
        self.ended_s = 0.0
        self.valid_loss = 0.0

    def phase(self, name: str) -> None:
        if self.began_s is None and name in _TRAINED:
            self.began_s = time.perf_counter()

    def presized(self, done: int, total: int) -> None:
        pass

    def step(self, report: StepReport) -> None:
        pass

    def epoch(self, report: EpochReport) -> None:
        self.ended_s = time.perf_counter()
        self.valid_loss = report.valid_loss or 0.0

    def checkpoint(self, state: TrainingState) -> None:
        pass

    def warning(self, code: str, detail: str) -> None:
        pass

    def command(self) -> Command:
        return Command.CONTINUE


def overhead(client: Client, settings: Settings, dataset: Json, asked: Any) -> Json:  # noqa: ANN401
    """Seconds of each, one after the other in turn, and how much longer the job takes.

    ``asked`` has ``times`` and ``epochs``. The first job presizes the photos and is not counted.

    Raises:
        RuntimeError: the two did not end with the same loss, so they are no comparison.
    """
    body = {"dataset": dataset["id"], "epochs": asked.epochs, **TRAINING}
    _as_job(client, body | {"epochs": 1})
    pairs = []
    for number in range(asked.times):
        # who goes first changes, so that a drift of the machine counts for neither
        if number % 2:
            alone, job = _alone(settings, dataset, body), _as_job(client, body)
        else:
            job, alone = _as_job(client, body), _alone(settings, dataset, body)
        if job.valid_loss != alone.valid_loss:
            raise RuntimeError(f"a loss of {job.valid_loss} against {alone.valid_loss}")
        pairs.append((job.seconds, alone.seconds))
    ratios = sorted(job_s / alone_s for job_s, alone_s in pairs)
    return {
        "epochs": asked.epochs,
        "job_s": [round(job_s, 3) for job_s, _ in pairs],
        "ml_alone_s": [round(alone_s, 3) for _, alone_s in pairs],
        "same_bits": True,
        "ratio_median": round(median(ratios), 4),
        "ratio_least_and_most": [round(ratios[0], 4), round(ratios[-1], 4)],
    }


def _as_job(client: Client, body: Json) -> Trained:
    job_id = client.post("/v1/fine-tunes", body)["id"]
    events = ended(client, job_id)
    job = client.get(f"/v1/jobs/{job_id}")
    if job["state"] != "succeeded":
        raise RuntimeError(f"{job_id} is {job['state']}: {job['error']}")
    phases = [(at_s, data["phase"]) for kind, at_s, data in events if kind == "job.phase_changed"]
    began_s = next(at_s for at_s, phase in phases if phase in _TRAINED)
    ended_s = max(at_s for kind, at_s, _ in events if kind == "job.epoch_completed")
    return Trained(seconds=ended_s - began_s, valid_loss=job["latest"]["valid_loss"])


def _alone(settings: Settings, dataset: Json, body: Json) -> Trained:
    torch.set_num_threads(settings.compute_threads)
    prefer_repeatable_kernels()
    classes = [each["label"] for each in dataset["classes"]]
    around = Surroundings(num_classes=len(classes), settings=settings)
    config = fine_tune_config(FineTuneSpec.model_validate(body), around)
    watch = _Watch()
    with (
        _part(settings, dataset["id"], classes, "train") as (train, pixels),
        _part(settings, dataset["id"], classes, "valid") as (valid, valid_pixels),
    ):
        fine_tune(
            config,
            train=train,
            valid=valid,
            pixels=pixels,
            valid_pixels=valid_pixels,
            listener=watch,
            device=pick_device(settings.device),
        )
    assert watch.began_s is not None  # noqa: S101  # it has trained
    return Trained(seconds=watch.ended_s - watch.began_s, valid_loss=watch.valid_loss)


@contextmanager
def _part(
    settings: Settings, dataset_id: str, classes: list[str], part: str
) -> Iterator[tuple[list[LabelledPhoto], Pixels]]:
    """The photos of a part as the job sees them, and the pixels that it has stored."""
    artifacts = Artifacts(settings.artifacts)
    photos = [
        LabelledPhoto(
            item_id=item.item_id,
            # the job has stored the pixels: no file is opened
            path=Path(item.path),
            digest=str(item.digest),
            label=classes.index(str(item.label)),
        )
        for item in read_items(artifacts.items_file(dataset_id))
        if item.split == part
    ]
    opened = open_pixels(
        photos,
        folder=artifacts.pixels_folder(),
        form=Form(short_side=TRAINING["presize"]),
        threads=settings.compute_threads,
        should_stop=lambda: False,
    )
    with closing(opened) as pixels:
        yield photos, pixels
