"""What a GPU makes of a training: steps, their feed, whole runs, and fastai beside them.

One command, on a machine with an NVIDIA GPU (some ten minutes, it is guessed):

    .venv/bin/python benchmarks/gpu.py

writes benchmarks/results/gpu-<date>.json. `--quick` takes small photos and batches; it also runs on
a CPU, where its figures say nothing but that it works, and the result says "no GPU". fastai is
measured where it can be imported (`pip install fastai` in the same environment), else the result
says that it was not.

Steps are those of `ml.step`, batches those of `ml.training_batches`. `random` steps learn from one
batch of random numbers that lies on the device; `resident` and `copied` ones are fed by the
product, from photos in the device's memory and from pinned copies. Their share of the random ones
tells what feeding costs.
"""

import argparse
import contextlib
import datetime
import itertools
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torchvision
from fastai_on_gpu import fastai_times
from machine import command_line, machine_facts
from PIL import Image

from jobs.artifacts import sha256_of
from ml.backbones import ImageClassifier, build_model
from ml.body_forms import free_unused, prepared, usable_forms
from ml.cache import Form, Pixels, Watch, completed
from ml.config import DataConfig, FineTuneConfig, LrRangeConfig, ModelConfig
from ml.determinism import prefer_repeatable_kernels
from ml.device import Resolved, pick_device, resolve_precision
from ml.evaluate import predict_logits
from ml.feed import fed
from ml.lr_range import find_lr
from ml.optimizer import make_optimizer, set_rates
from ml.photos import LabelledPhoto
from ml.presized_pixels import open_pixels
from ml.progress import Command, EpochReport
from ml.resident import upload
from ml.step import Batch, Stepper, make_scaler
from ml.theory.step_forms import StepForm
from ml.train import fine_tune
from ml.training_batches import TrainingBatches, endless_keys
from ml.training_state import TrainingState

RESULTS = Path(__file__).parent / "results"
CLASSES = 37
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is measured."""

    architectures: tuple[str, ...] = ("resnet50", "resnet18")
    batch_sizes: tuple[int, ...] = (64, 256)
    size: int = 224
    presize: int = 460
    steps: int = 50
    times: int = 3
    photos_px: tuple[tuple[int, int], ...] = ((500, 400), (3264, 2448))
    photos: int = 2000
    epochs: int = 3
    loader_workers: int = 16


QUICK = Extent(
    architectures=("resnet18",),
    batch_sizes=(4,),
    size=48,
    presize=64,
    steps=2,
    times=2,
    photos_px=((90, 70), (200, 150)),
    photos=16,
    epochs=2,
    loader_workers=0,
)


class Quiet:
    """A listener that keeps how long epochs took, and what was warned of."""

    def __init__(self) -> None:
        self.epochs_s: list[float] = []
        self.warnings: list[str] = []

    def epoch(self, report: EpochReport) -> None:
        """Its time is kept."""
        self.epochs_s.append(report.seconds)

    def warning(self, code: str, detail: str) -> None:
        """Its code is kept."""
        self.warnings.append(code)

    def checkpoint(self, state: TrainingState) -> None:
        """Nobody asks for any."""

    def command(self) -> Command:
        """Everything goes on."""
        return Command.CONTINUE

    def _ignore(self, *facts: object) -> None:
        pass

    phase = presized = step = _ignore


def main() -> None:
    """The figures are in a file, and its place is printed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, help="the file that is written")
    asked = parser.parse_args()
    device = pick_device(asked.device)
    if device.type == "cpu" and not asked.quick:
        parser.error("there is no GPU; --quick shows that the script works")
    extent = QUICK if asked.quick else Extent()
    prefer_repeatable_kernels()
    started = datetime.datetime.now(datetime.UTC)
    found: Json = {
        "command": command_line(),
        "started_at": started.isoformat(timespec="seconds"),
        "quick": asked.quick,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU",
        "machine": machine_facts(),
        "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__,
                     "cuda": torch.version.cuda},
        "steps": [_steps(extent, device, name, batch)
                  for name, batch in itertools.product(extent.architectures, extent.batch_sizes)],
        "runs": [_run(extent, device, photo_px) for photo_px in extent.photos_px],
    }  # fmt: skip
    path = asked.out or RESULTS / f"gpu-{started.date()}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    print(f"written to {path}")


# --- steps ----------------------------------------------------------------------------------------


def _steps(extent: Extent, device: torch.device, architecture: str, batch_size: int) -> Json:
    """Images a second of one network in every form of the step, and fed in both ways."""
    best = resolve_precision("auto", device)
    images = torch.randn(batch_size, 3, extent.size, extent.size, device=device)
    images = images.to(memory_format=torch.channels_last)

    def formed(form: StepForm) -> Stepper:
        eager = _stepper(architecture, device, best)
        model = eager.model
        body = prepared(model.body, form, torch.zeros_like(images), best)
        return replace(eager, model=ImageClassifier(body, model.head, model.architecture))

    forms: dict[str, Callable[[], Stepper]] = {
        "fp32": lambda: _stepper(architecture, device, "fp32", channels_last=False),
        "reduced": lambda: _stepper(architecture, device, best),
        **{form: partial(formed, form) for form in _forms_of(architecture, device)},
    }
    row: Json = {"architecture": architecture, "batch_size": batch_size, "precision": best}
    labels = torch.arange(batch_size, device=device) % CLASSES
    random = Batch(images, labels)
    for name, make in forms.items():
        began_s = time.perf_counter()
        stepper = make()
        made_s = _since(began_s, device)
        row[name] = {"made_s": made_s, **_paced(extent, device, stepper, itertools.repeat(random))}
        del stepper
        free_unused()
    row["channels_last_over_fp32"] = _ratio(row["reduced"], row["fp32"])
    for name in ("resident", "copied"):
        with _batches(extent, device, batch_size, resident=name == "resident") as batches:
            row[name] = _paced(extent, device, forms["reduced"](), batches)
        row[name]["share_of_random"] = _ratio(row[name], row["reduced"])
    return row


def _stepper(
    architecture: str, device: torch.device, precision: Resolved, *, channels_last: bool = True
) -> Stepper:
    config = ModelConfig(architecture=architecture, weights="none", num_classes=CLASSES)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = build_model(config, seed=0).to(device).to(memory_format=layout).train()
    optimizer = make_optimizer(model, weight_decay=0.01)
    set_rates(optimizer, (1e-5,) * model.architecture.layer_groups, 0.9)
    return Stepper(model, optimizer, make_scaler(precision, device), precision, 0.0)


def _forms_of(architecture: str, device: torch.device) -> list[StepForm]:
    body = _stepper(architecture, device, "fp32").model.body
    return [form for form in usable_forms(body, device) if form != "eager"]


def _paced(
    extent: Extent, device: torch.device, stepper: Stepper, batches: Iterator[Batch]
) -> Json:
    """Images a second, the time of the first steps, and the memory that was reserved."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    began_s = time.perf_counter()
    for batch in itertools.islice(batches, 3):
        images = len(batch.labels)
        stepper(batch)
    _wait_for(device)
    first_s = time.perf_counter() - began_s
    rates = []
    for _ in range(extent.times):
        began_s = time.perf_counter()
        for batch in itertools.islice(batches, extent.steps):
            stepper(batch)
        _wait_for(device)
        rates.append(extent.steps * images / (time.perf_counter() - began_s))
    row: Json = {
        "images_per_s": round(statistics.median(rates), 1),
        "least_and_most": [round(min(rates), 1), round(max(rates), 1)],
        "first_three_steps_s": round(first_s, 3),
    }
    if device.type == "cuda":
        row["reserved_mib"] = torch.cuda.max_memory_reserved(device) >> 20
    return row


@contextlib.contextmanager
def _batches(
    extent: Extent, device: torch.device, batch_size: int, *, resident: bool
) -> Iterator[Iterator[Batch]]:
    with tempfile.TemporaryDirectory() as folder:
        photos = _photos(Path(folder), max(64, batch_size), extent.photos_px[0])
        with contextlib.closing(_presized(photos, Path(folder), extent)) as pixels:
            there: Pixels | None = pixels
            if resident:
                there = upload(pixels, device, most_bytes=10**12)
            assert there is not None  # noqa: S101  # everything fits into so much
            data = DataConfig(presize=extent.presize, size=extent.size, batch_size=batch_size)
            batches = TrainingBatches(photos, there, data, batch_size, 0, device)
            with fed(endless_keys(batches), batches.make, device) as ready:
                yield ready


# --- whole runs -----------------------------------------------------------------------------------


def _run(extent: Extent, device: torch.device, photo_px: tuple[int, int]) -> Json:
    """Presizing, a find, a fine-tune, an evaluation; and fastai's fine-tune of the same files."""
    architecture, batch_size = extent.architectures[0], extent.batch_sizes[0]
    model = ModelConfig(architecture=architecture, weights="none", num_classes=CLASSES)
    data = DataConfig(presize=extent.presize, size=extent.size, batch_size=batch_size)
    row: Json = {"architecture": architecture, "photo_px": photo_px, "photos": extent.photos}
    with tempfile.TemporaryDirectory() as folder:
        photos = _photos(Path(folder), extent.photos, photo_px)
        valid = photos[: max(CLASSES, len(photos) // 5)]
        began_s = time.perf_counter()
        with (
            contextlib.closing(_presized(photos, Path(folder), extent)) as pixels,
            contextlib.closing(_presized(valid, Path(folder), extent)) as valid_pixels,
        ):
            row["presize_s"] = _since(began_s, device)
            quiet, rates = Quiet(), (1e-4,) * 3
            began_s = time.perf_counter()
            steps = 100 if extent.steps > 10 else 4
            find = LrRangeConfig(model=model, data=data, num_steps=steps, end_lr=1e-3)
            find_lr(find, photos, pixels, listener=quiet, device=device)
            row["lr_find_s"] = _since(began_s, device)
            config = FineTuneConfig(
                model=model,
                data=data,
                epochs=extent.epochs,
                frozen_peaks=rates,
                unfrozen_peaks=rates,
            )
            began_s = time.perf_counter()
            outcome = fine_tune(
                config,
                train=photos,
                valid=valid,
                pixels=pixels,
                valid_pixels=valid_pixels,
                listener=quiet,
                device=device,
                step_times=Path(folder) / "step-times",
            )
            row["fine_tune_s"] = _since(began_s, device)
            row["epochs_s"] = [round(seconds, 3) for seconds in quiet.epochs_s]
            row["resolved"] = outcome.resolved
            began_s = time.perf_counter()
            predict_logits(
                outcome.model,
                pixels,
                photos,
                size=extent.size,
                batch_size=batch_size,
                precision=cast(Resolved, outcome.resolved["precision"]),
                device=device,
                command=quiet.command,
            )
            row["evaluation_images_per_s"] = round(len(photos) / _since(began_s, device), 1)
        row["fastai"] = fastai_times(Path(folder) / "photos", architecture, extent)
    return row


def _photos(folder: Path, count: int, size_wh: tuple[int, int]) -> list[LabelledPhoto]:
    """JPEGs of smooth noise, a few drawn and the others copied with other bytes at their ends."""
    width, height = size_wh
    rng, photos = np.random.default_rng(0), []
    drawn = []
    (folder / "photos").mkdir()
    for number in range(count):
        path = folder / "photos" / f"{number % CLASSES}_{number}.jpg"
        if number < 16:
            small = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
            Image.fromarray(small).resize(size_wh, Image.Resampling.BICUBIC).save(path, quality=90)
            drawn.append(path)
        else:
            shutil.copyfile(drawn[number % 16], path)
            with path.open("ab") as file:
                file.write(number.to_bytes(4, "little"))
        photos.append(
            LabelledPhoto(
                item_id=str(number), path=path, digest=sha256_of(path), label=number % CLASSES
            )
        )
    return photos


def _presized(photos: list[LabelledPhoto], folder: Path, extent: Extent) -> Pixels:
    opened = open_pixels(
        photos,
        folder=folder / "pixels",
        form=Form(short_side=extent.presize),
        threads=max(1, extent.loader_workers),
        should_stop=lambda: False,
    )
    return completed(opened, Watch(lambda done, total: None, lambda: False))


def _since(began_s: float, device: torch.device) -> float:
    _wait_for(device)
    return round(time.perf_counter() - began_s, 3)


def _ratio(one: Json, other: Json) -> float:
    return round(float(one["images_per_s"]) / float(other["images_per_s"]), 3)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
