"""What each stage of a training costs by itself, without service and without other processes.

    .venv/bin/python benchmarks/stages.py --photos ~/photos/pets --out

Photos are decoded, presized and drawn on one core; decoding also by Pillow alone, in turn. Steps
and evaluations run on all cores, and their arithmetic is compared with that of large matrix
products in the same number format, measured right before each: the share of what the machine
reaches at best. A multiplication with an addition counts two operations, and a step three times the
way through the net. Nets are not trained to any use here; their weights are random.
"""

import argparse
import contextlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import torch
from bench_photos import SUFFIXES
from machine import command_line, machine_facts
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from jobs.artifacts import sha256_of
from ml.backbones import ImageClassifier, build_model
from ml.cache import Form, Pixels, Watch, completed
from ml.config import DataConfig, ModelConfig
from ml.device import Resolved, autocast, resolve_precision
from ml.evaluate import predict_logits
from ml.optimizer import make_optimizer, set_rates
from ml.photos import LabelledPhoto
from ml.presized_photo import presized_photo
from ml.presized_pixels import open_pixels
from ml.progress import Command
from ml.step import Batch, Stepper, make_scaler
from ml.training_batches import TrainingBatches

RESULTS = Path(__file__).parent / "results"
PRESIZE, SIZE, BATCH_SIZE, CLASSES = 460, 224, 32, 37
ARCHITECTURES = ("squeezenet1_1", "resnet18", "mobilenet_v2")
CPU = torch.device("cpu")
_MATRIX = 2048
Json = dict[str, object]


def main() -> None:
    """The figures are printed and, if wanted, written."""
    asked = _asked()
    photos = photos_in(asked.photos)[: asked.most]
    content: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "torch": torch.__version__,
        "photos": {"count": len(photos), "megapixels_each": round(_megapixels(photos), 3)},
    }
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        for name, part in _parts(photos, Path(folder), asked):
            content[name] = part()
            print(name, json.dumps(content[name]), flush=True)
    if asked.out:
        file = RESULTS / f"stages-{asked.name}.json"
        file.write_text(json.dumps(content, indent=1) + "\n")
        print(f"written: {file}")


def _parts(
    photos: list[LabelledPhoto], folder: Path, asked: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "photos_per_s_on_one_core", partial(_on_one_core, photos, folder, asked.times)
    for name in asked.architectures:
        yield f"step {name}", partial(_step, name, asked)
    for name in asked.architectures:
        yield f"evaluation {name}", partial(_evaluation, name, photos, folder, asked)


# --- photos -----------------------------------------------------------------------------------


def _on_one_core(photos: list[LabelledPhoto], folder: Path, times: int) -> Json:
    """Photos a second of each way with them, in turn."""
    before = torch.get_num_threads()
    rates: dict[str, list[float]] = {}
    torch.set_num_threads(1)
    try:
        with contextlib.closing(presized(photos, folder)) as pixels:
            ways: dict[str, Callable[[], object]] = {
                "decoded by Pillow": lambda: _decoded(photos),
                "decoded and presized": lambda: [presized_photo(each, PRESIZE) for each in photos],
                "drawn for training": lambda: _drawn(photos, pixels),
            }
            for name, way in itertools.chain.from_iterable([ways.items()] * times):
                rates.setdefault(name, []).append(len(photos) / _seconds(way))
    finally:
        torch.set_num_threads(before)
    found: Json = {name: _three(values) for name, values in rates.items()}
    pairs = zip(rates["decoded by Pillow"], rates["decoded and presized"], strict=True)
    found["presizing takes times as long as Pillow's decoding"] = _three(
        [pillow / ours for pillow, ours in pairs]
    )
    return found


def photos_in(folder: Path) -> list[LabelledPhoto]:
    """All photos below the folder, in the order of their names."""
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    return [
        LabelledPhoto(item_id=str(number), path=file, digest=sha256_of(file), label=0)
        for number, file in enumerate(files)
    ]


def _decoded(photos: Sequence[LabelledPhoto]) -> None:
    for photo in photos:
        with Image.open(photo.path) as image:
            image.convert("RGB").load()


def _drawn(photos: list[LabelledPhoto], pixels: Pixels) -> None:
    """One epoch of training batches, without a net."""
    data = DataConfig(presize=PRESIZE, size=SIZE, batch_size=len(photos))
    batches = TrainingBatches(photos, pixels, data, len(photos), 0, CPU)
    for key in batches.keys(epoch=1):
        batches.make(key)


def presized(photos: list[LabelledPhoto], folder: Path) -> Pixels:
    """The photos' pixels, all of them stored, by one thread."""
    opened = open_pixels(
        photos,
        folder=folder / "pixels",
        form=Form(short_side=PRESIZE),
        threads=1,
        should_stop=lambda: False,
    )
    return completed(opened, Watch(lambda done, total: None, lambda: False))


# --- steps and evaluations --------------------------------------------------------------------


def _step(name: str, asked: argparse.Namespace) -> Json:
    """Steps of the whole net in the precision that a job would choose."""
    precision, model, batch = resolve_precision("auto", CPU), _model(name).train(), _batch()
    operations = 3 * _operations_forward(model, batch)
    step = _steps_of(model, batch, precision)
    step()
    return _pace(step, operations, precision, asked)


def _operations_forward(model: ImageClassifier, batch: Batch) -> int:
    """Of the way through the net alone: the counter takes a depthwise one back for a dense one."""
    threads = torch.get_num_threads()
    # it hears of nothing that other threads do
    torch.set_num_threads(1)
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(batch.images)
    finally:
        torch.set_num_threads(threads)
    return int(counter.get_total_flops())


def step_of(name: str) -> Callable[[], object]:
    """Takes one step of the whole net at each call."""
    return _steps_of(_model(name).train(), _batch(), resolve_precision("auto", CPU))


def _steps_of(model: ImageClassifier, batch: Batch, precision: Resolved) -> Callable[[], object]:
    optimizer = make_optimizer(model, weight_decay=0.01)
    set_rates(optimizer, (1e-5,) * model.architecture.layer_groups, 0.9)
    step = Stepper(model, optimizer, make_scaler(precision, CPU), precision, 0.0)
    return lambda: step(batch)


def _batch() -> Batch:
    return Batch(_images(), torch.arange(BATCH_SIZE) % CLASSES)


def _evaluation(
    name: str, photos: list[LabelledPhoto], folder: Path, asked: argparse.Namespace
) -> Json:
    """From stored pixels to logits, drawing included; the net alone beside it."""
    precision, model = resolve_precision("auto", CPU), _model(name).eval()
    images = _images()

    def whole() -> object:
        return predict_logits(
            model,
            pixels,
            photos,
            size=SIZE,
            batch_size=BATCH_SIZE,
            precision=precision,
            device=CPU,
            command=lambda: Command.CONTINUE,
        )

    def alone() -> object:
        with torch.inference_mode(), autocast(precision, CPU):
            return model(images)

    with contextlib.closing(presized(photos, folder)) as pixels:
        alone()
        rates = [
            (len(photos) / _seconds(whole), BATCH_SIZE / _seconds(alone))
            for _ in range(asked.times)
        ]
    return {
        "images_per_s": _three([whole for whole, _ in rates]),
        "of the net alone": _three([net for _, net in rates]),
        "precision": precision,
    }


def _pace(
    step: Callable[[], object], operations: int, precision: Resolved, asked: argparse.Namespace
) -> Json:
    """Images a second, and the share of the machine's best arithmetic."""
    rates, shares = [], []
    for _ in range(asked.times):
        peak = _peak_flops_per_s(precision)
        seconds = _seconds(lambda: [step() for _ in range(asked.steps)]) / asked.steps
        rates.append(BATCH_SIZE / seconds)
        shares.append(operations / seconds / peak)
    return {
        "images_per_s": _three(rates),
        "share_of_matrix_products": _three(shares),
        "precision": precision,
        "operations_per_image": operations // BATCH_SIZE,
    }


def _peak_flops_per_s(precision: Resolved) -> float:
    """Of the fastest of ten products of square matrices."""
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    one, other = (torch.randn(_MATRIX, _MATRIX).to(kind) for _ in range(2))
    least_s = min(_seconds(lambda: one @ other) for _ in range(10))
    return 2 * _MATRIX**3 / least_s


def _model(name: str) -> ImageClassifier:
    config = ModelConfig(architecture=name, weights="none", num_classes=CLASSES)
    return build_model(config, seed=0).to(memory_format=torch.channels_last)


def _images() -> torch.Tensor:
    images = torch.randn(BATCH_SIZE, 3, SIZE, SIZE)
    return images.to(memory_format=torch.channels_last)


# --- numbers ----------------------------------------------------------------------------------


def _megapixels(photos: Sequence[LabelledPhoto]) -> float:
    def of(photo: LabelledPhoto) -> float:
        with Image.open(photo.path) as image:
            return image.width * image.height / 1e6

    return median(of(photo) for photo in photos)


def _seconds(work: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def _three(values: Sequence[float]) -> Json:
    return {
        "median": round(median(values), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, required=True, help="a folder, searched to its end")
    parser.add_argument("--most", type=int, default=256, help="photos that are used")
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="of each time")
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    parser.add_argument("--name", default="photos", help="of the file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
