"""A few real steps of a training, to see how long all of it would take and what it needs.

The steps, batches and evaluations are those of `ml.train`; nothing that they learn is kept.
"""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from ml import checkpoint
from ml.cache import LoosePixels, Pixels
from ml.centres import centre_of
from ml.config import DEFAULT_WEIGHTS, NO_WEIGHTS, FineTuneConfig, ModelConfig
from ml.errors import StoppedError, is_out_of_memory
from ml.feed import fed
from ml.images import Rgb
from ml.inputs import Inputs
from ml.loader import DEPTH
from ml.memory import PeakMemory, peak_memory, reset_peak
from ml.originals import Originals
from ml.photos import LabelledPhoto
from ml.pixel_files import PIXELS_FILE
from ml.progress import Command, Listener
from ml.seeding import seeded
from ml.theory import architectures
from ml.train import take_step, validation_logits
from ml.training_batches import endless_keys
from ml.training_run import TrainingRun, enter_phase, new_run, state_of

PhaseName = Literal["frozen", "unfrozen"]

STEPS_S: dict[PhaseName, float] = {"frozen": 2.0, "unfrozen": 3.0}
"""Seconds after which no further step of the phase is begun; one is measured in any case."""
EVALUATION_S = 1.0
_MOST_CENTRES = 64
_HARMLESS_RATE = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long each of a row of equal pieces of work takes."""

    first_s: float
    """The first piece, which warms up."""
    each_s: float
    """Mean of those measured after the warm-up."""
    fastest_s: float
    slowest_s: float
    count: int
    """Pieces that were measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What was measured; what the memory did not suffice for is missing."""

    fits: bool
    """Whether the memory sufficed."""
    build_s: float
    """Making the model, its weights in place."""
    steps: dict[PhaseName, Pace]
    evaluation: Pace | None
    """Batches of an evaluation."""
    checkpoint_s: float | None
    """Writing a checkpoint."""
    memory: PeakMemory | None
    environment: dict[str, str | int]


@dataclass(slots=True)
class _Findings:
    """What is known so far."""

    build_s: float = 0.0
    steps: dict[PhaseName, Pace] = field(default_factory=dict)
    evaluation: Pace | None = None
    checkpoint_s: float | None = None
    environment: dict[str, str | int] = field(default_factory=dict)


class RepeatedPixels(Pixels):
    """The pixels of a few photos, again and again, as if there were ``count`` photos."""

    def __init__(self, pixels: Pixels, count: int) -> None:
        self._pixels = pixels
        self._count = count

    def __len__(self) -> int:
        """Number of photos, repetitions included."""
        return self._count

    def photo(self, position: int) -> Rgb:
        """The photo that stands there."""
        return self._pixels.photo(position % len(self._pixels))

    def close(self) -> None:
        """The few photos are closed, too."""
        self._pixels.close()


def probe(  # noqa: PLR0913  # each is a plain fact that callers hold separately
    config: FineTuneConfig,
    *,
    phases: Sequence[PhaseName],
    photos: Sequence[LabelledPhoto],
    pixels: Pixels,
    scratch: Path,
    listener: Listener,
    device: torch.device,
) -> ProbeResult:
    """The times of steps, evaluations and checkpoints; torch's random numbers are untouched.

    ``phases`` are measured in this order. It takes some six seconds, or longer where single steps
    do: two of each phase are taken at the least, the first of which does not count. Photos fewer
    than a batch stand for more. ``scratch`` is a folder for a checkpoint, which is gone afterwards.

    Raises:
        StoppedError: The listener said LEAVE, FINISH or ABANDON.
        WeightsUnavailableError: The pretrained weights cannot be had.
    """
    inputs = _inputs(config, photos, pixels, listener, device)
    found, fits = _Findings(), True
    reset_peak(device)
    try:
        with seeded(config.seed, device):
            _measure(inputs, phases, scratch, found)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fits = False
    return ProbeResult(
        fits=fits,
        build_s=found.build_s,
        steps=found.steps,
        evaluation=found.evaluation,
        checkpoint_s=found.checkpoint_s,
        memory=peak_memory(device, without=PIXELS_FILE),
        environment=found.environment,
    )


def weights_file(config: ModelConfig) -> Path | None:
    """Where torchvision keeps, or will put, the model's weights; None when they are not its own."""
    row = architectures.get(config.architecture)
    if config.weights == NO_WEIGHTS or isinstance(config.weights, Path):
        return None
    name = row.default_weights if config.weights == DEFAULT_WEIGHTS else config.weights
    return Path(torch.hub.get_dir()) / "checkpoints" / row.weights[name]


def spread_out(photos: Sequence[LabelledPhoto], most: int) -> list[LabelledPhoto]:
    """At most so many of the photos, from all over the list, in its order."""
    count = min(most, len(photos))
    return [photos[place * len(photos) // count] for place in range(count)]


def _inputs(
    config: FineTuneConfig,
    photos: Sequence[LabelledPhoto],
    pixels: Pixels,
    listener: Listener,
    device: torch.device,
) -> Inputs:
    """Those of a run of one epoch in each phase, with rates that cannot diverge."""
    rates = (_HARMLESS_RATE,) * len(config.unfrozen_peaks)
    short = replace(config, epochs=1, freeze_epochs=1, frozen_peaks=rates, unfrozen_peaks=rates)
    count = max(len(photos), config.data.batch_size)
    repeated = list(itertools.islice(itertools.cycle(photos), count))
    shown: Pixels
    valid_shown: Pixels
    if isinstance(pixels, Originals):
        shown = valid_shown = pixels.repeated(count)
    else:
        shown = RepeatedPixels(pixels, count)
        valid_shown = RepeatedPixels(_centres(pixels, config.data.size), count)
    return Inputs(
        config=short,
        train=repeated,
        pixels=shown,
        valid=repeated,
        valid_pixels=valid_shown,
        listener=listener,
        device=device,
    )


def _centres(pixels: Pixels, size: int) -> Pixels:
    """What validation sees of a few of the photos, drawn beforehand as for a training."""
    places = range(min(len(pixels), _MOST_CENTRES))
    return LoosePixels([centre_of(pixels.photo(place), size) for place in places])


def _measure(inputs: Inputs, phases: Sequence[PhaseName], scratch: Path, found: _Findings) -> None:
    began_s = time.perf_counter()
    run = new_run(inputs)
    found.build_s = time.perf_counter() - began_s
    found.environment = run.batches.environment(run.precision)
    for phase in phases:
        found.steps[phase] = _steps(run, phase)
    found.checkpoint_s = _checkpoint_s(run, scratch / "probe.checkpoint")
    found.evaluation = _evaluation(run)


def _steps(run: TrainingRun, phase: PhaseName) -> Pace:
    run.epochs_done = [each.name for each in run.phases].index(phase)
    enter_phase(run)
    run.model.train()
    marks_s = [time.perf_counter()]
    with fed(endless_keys(run.batches), run.batches.make, run.inputs.device) as ready:
        for step, batch in enumerate(ready):
            take_step(run, [batch], step % run.batches.per_epoch)
            if step == 0:
                _wait_for(run.inputs.device)
            marks_s.append(time.perf_counter())
            _leave_if_asked(run.inputs.listener)
            if len(marks_s) > 2 and marks_s[-1] - marks_s[1] >= STEPS_S[phase]:
                break
        _wait_for(run.inputs.device)
        marks_s[-1] = time.perf_counter()
    run.pending.take(everything=True)
    return _pace(marks_s)


def _evaluation(run: TrainingRun) -> Pace:
    """Batches of one pass; it is broken off when its time is over."""
    marks_s = [time.perf_counter()]

    def command() -> Command:
        marks_s.append(time.perf_counter())
        over = marks_s[-1] - marks_s[0] >= EVALUATION_S
        return Command.ABANDON if over else Command.CONTINUE

    try:
        while True:
            validation_logits(run, command)
    except StoppedError:
        _leave_if_asked(run.inputs.listener)
    return _pace(marks_s)


def _checkpoint_s(run: TrainingRun, path: Path) -> float:
    began_s = time.perf_counter()
    try:
        checkpoint.save(path, state_of(run))
    finally:
        path.unlink(missing_ok=True)
    return time.perf_counter() - began_s


def _pace(marks_s: Sequence[float]) -> Pace:
    """Of a row of instants; the first and those served from the batches in store do not count."""
    times_s = [after - before for before, after in itertools.pairwise(marks_s)]
    in_store = DEPTH if len(times_s) > 2 * DEPTH else 0
    measured = times_s[1 + in_store :] or times_s
    return Pace(
        first_s=times_s[0],
        each_s=sum(measured) / len(measured),
        fastest_s=min(measured),
        slowest_s=max(measured),
        count=len(measured),
    )


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _leave_if_asked(listener: Listener) -> None:
    command = listener.command()
    if command in {Command.LEAVE, Command.FINISH, Command.ABANDON}:
        raise StoppedError("probing", command.value)
