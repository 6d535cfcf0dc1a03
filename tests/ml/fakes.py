"""A listener that remembers, and tiny photos."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ml.cache import Form, Pixels, Watch, completed
from ml.config import AugmentConfig, DataConfig, ModelConfig
from ml.photos import LabelledPhoto
from ml.presized_pixels import open_pixels
from ml.progress import Command, EpochReport, StepReport
from ml.training_state import TrainingState


class RememberingListener:
    """Keeps all it is told; answers with ``commands[steps told]``, else CONTINUE."""

    def __init__(self, commands: dict[int, Command] | None = None) -> None:
        self.commands = commands or {}
        self.phases: list[str] = []
        self.steps: list[StepReport] = []
        self.epochs: list[EpochReport] = []
        self.states: list[TrainingState] = []
        self.warnings: list[str] = []
        self.details: list[str] = []
        """Of the warnings."""

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def presized(self, done: int, total: int) -> None:
        raise AssertionError("no run presizes by itself")

    def step(self, report: StepReport) -> None:
        self.steps.append(report)

    def epoch(self, report: EpochReport) -> None:
        self.epochs.append(report)

    def checkpoint(self, state: TrainingState) -> None:
        self.states.append(state)

    def warning(self, code: str, detail: str) -> None:
        self.warnings.append(code)
        self.details.append(detail)

    def command(self) -> Command:
        return self.commands.get(len(self.steps), Command.CONTINUE)


def carry_on() -> Command:
    """What a caller says who wants nothing."""
    return Command.CONTINUE


def make_photos(folder: Path, count: int, *, classes: int = 2) -> list[LabelledPhoto]:
    """PNG photos of 56 x 48 px whose colour tells their class."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    photos = []
    for number in range(count):
        label = number % classes
        pixels = rng.integers(0, 120, (48, 56, 3), dtype=np.uint8)
        pixels[..., label % 3] += 120
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        photos.append(LabelledPhoto(item_id=str(number), path=path, digest=digest, label=label))
    return photos


FORM = Form(short_side=48)
"""How `pixels_of` stores photos."""


def pixels_of(
    photos: list[LabelledPhoto],
    folder: Path,
    *,
    form: Form = FORM,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    like: Callable[[], Iterable[Sequence[str]]] = tuple,
) -> Pixels:
    """The photos presized to 48 px, all of them."""
    opened = open_pixels(
        photos,
        folder=folder,
        form=form,
        threads=2,
        should_stop=should_stop,
        like=like,
    )
    return completed(opened, Watch(on_progress, should_stop))


def tiny_data(*, batch_size: int = 4) -> DataConfig:
    """Images of 32 px."""
    return DataConfig(presize=48, size=32, batch_size=batch_size, augment=AugmentConfig())


def tiny_model(architecture: str = "squeezenet1_1", *, num_classes: int = 2) -> ModelConfig:
    """Random weights."""
    return ModelConfig(architecture=architecture, weights="none", num_classes=num_classes)
