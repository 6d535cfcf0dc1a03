"""The learning-rate range test: loss against a rate that grows from step to step.

Smith 2017, arXiv:1506.01186, section 3.3, as fastai runs it: exponential growth, one rate for all
layer groups, a short data set walked through again and again in a new order. The body is frozen
unless the sweep is to move every layer. A find can also sweep one layer group at a time, and
repeat all of that with other seeds.
"""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ml.agreement import heard_by_all
from ml.backbones import build_model
from ml.cache import Pixels
from ml.config import LrRangeConfig
from ml.device import Resolved, resolve_precision
from ml.errors import StoppedError
from ml.feed import fed
from ml.layer_groups import freeze_body, train_one_group
from ml.optimizer import make_optimizer, set_rates
from ml.pending import Pending, TakenStep
from ml.photos import LabelledPhoto
from ml.placement import place_of, placed
from ml.progress import Command, Listener, StepReport
from ml.ranks import ALONE, Ranks
from ml.seeding import seeded
from ml.shared_layers import share_layers
from ml.step import Stepper, make_scaler, replicated
from ml.theory import architectures
from ml.theory.lr_sweeps import PlannedSweep, planned_sweeps
from ml.theory.schedules import (
    SWEEP_MOMENTUM,
    DivergenceStop,
    LossSmoother,
    exponential_sweep,
)
from ml.training_batches import TrainingBatches, endless_keys, fitting_batch_size

Ending = Literal["diverged", "completed", "finished"]

PHASE = "sweeping"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptCurve:
    """One sweep; each of its three columns has one entry for each step taken."""

    planned: PlannedSweep
    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    """Mean loss of each batch; NaN where it was not finite."""
    smoothed: tuple[float, ...]
    """Their average with beta 0.98, corrected for its start."""
    stopped: Ending
    """``finished``: the caller asked for the curve so far."""
    diverged_at_step: int | None
    """The last step of a run that diverged; it is part of the curve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LrRangeResult:
    """The sweeps of a find, one or more, in the order of `planned_sweeps`."""

    sweeps: tuple[SweptCurve, ...]
    resolved: dict[str, str | int]


class _Curve:
    """The record of a sweep, and when it is over."""

    def __init__(self) -> None:
        self.lrs: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.diverged = False
        self._smoother = LossSmoother()
        self._stop = DivergenceStop()

    def add(self, lr: float, loss: float) -> float:
        """The smoothed loss; from the divergence on nothing more is recorded."""
        recorded = loss if math.isfinite(loss) else math.nan
        smoothed = self._smoother.update(recorded)
        self.lrs.append(lr)
        self.losses.append(recorded)
        self.smoothed.append(smoothed)
        self.diverged = not math.isfinite(loss) or self._stop.update(smoothed)
        return smoothed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Find:
    """What is the same in all sweeps of a find."""

    config: LrRangeConfig
    photos: Sequence[LabelledPhoto]
    pixels: Pixels
    batch_size: int
    precision: Resolved
    device: torch.device
    listener: Listener
    pieces: int
    ranks: Ranks

    def batches(self, seed: int) -> TrainingBatches:
        return TrainingBatches(
            self.photos,
            self.pixels,
            self.config.data,
            self.batch_size,
            seed,
            self.device,
            pieces=self.pieces,
            ranks=self.ranks,
        )

    def placed(self) -> "_Find":
        """The photos are on the GPU where they fit; once memory was too small it is left free."""
        if self.device.type != "cuda" or self.pieces > 1:
            return self
        (pixels,) = placed(
            [self.pixels],
            build_model(self.config.model, seed=self.config.seed).to(self.device),
            photos_at_once=math.ceil(self.batch_size / self.ranks.count),
            size=self.config.data.size,
            precision=self.precision,
            device=self.device,
        )
        return replace(self, pixels=pixels)

    def stepper(self, planned: PlannedSweep) -> Stepper:
        """A new model of which only that moves which is swept."""
        config = self.config
        model = build_model(config.model, seed=planned.seed).to(self.device).train()
        share_layers(model, self.ranks)
        if planned.group is not None:
            train_one_group(model, planned.group)
        elif config.sweep == "frozen_body":
            freeze_body(model, train_norm_layers=config.train_norm_layers)
        optimizer = make_optimizer(model, weight_decay=config.weight_decay)
        scaler = make_scaler(self.precision, self.device)
        return Stepper(
            model,
            optimizer,
            scaler,
            self.precision,
            label_smoothing=0.0,
            ranks=self.ranks,
            replica=replicated(model, self.ranks, self.device),
        )


def find_lr(  # noqa: PLR0913  # each is a plain fact that callers hold separately
    config: LrRangeConfig,
    photos: Sequence[LabelledPhoto],
    pixels: Pixels,
    *,
    listener: Listener,
    device: torch.device,
    pieces: int = 1,
    ranks: Ranks = ALONE,
) -> LrRangeResult:
    """The curves of all sweeps, each with a model of its own; nothing of the caller's has changed.

    However it ends, models, optimizers and all random numbers are bit by bit what they were.

    Step i of sweep k is reported as step ``k * num_steps + i``. A sweep that the listener wants
    finished is the last; unless it is the first it is left out, for a part of a curve would count
    as much as a whole one. ``pieces`` and ``ranks`` are as in `fine_tune`.

    Departures from fastai: a loss that is not finite is recorded as NaN and ends the sweep
    (fastai goes on), and a batch larger than the data set shrinks to it (fastai fails).

    Raises:
        TooFewImagesError: Fewer photos than a batch of two.
        StoppedError: The listener said LEAVE or ABANDON; a find is too short to be resumed.
    """
    listener = heard_by_all(listener, ranks)
    find = _Find(
        config=config,
        photos=photos,
        pixels=pixels,
        batch_size=fitting_batch_size(config.data.batch_size, len(photos), listener, ranks),
        precision=resolve_precision(config.precision, device),
        device=device,
        listener=listener,
        pieces=pieces,
        ranks=ranks,
    )
    listener.phase(PHASE)
    with _every_gpu_draws_on():
        find = find.placed()
        sweeps = tuple(_all_swept(find))
    environment = find.batches(config.seed).environment(find.precision)
    return LrRangeResult(sweeps=sweeps, resolved={**environment, **place_of(find.pixels, device)})


@contextlib.contextmanager
def _every_gpu_draws_on() -> Iterator[None]:
    """Afterwards all GPUs draw as if nothing had been seeded inside."""
    # torch.manual_seed seeds every GPU, also those that are not trained on
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch's own gap
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if used else ()):
        yield


def _all_swept(find: _Find) -> Iterator[SweptCurve]:
    config = find.config
    groups = architectures.get(config.model.architecture).layer_groups
    for planned in planned_sweeps(
        config.sweep, seed=config.seed, repeats=config.repeats, layer_groups=groups
    ):
        swept = _swept(find, planned)
        if swept.stopped != "finished" or planned.number == 0:
            yield swept
        if swept.stopped == "finished":
            return


def _swept(find: _Find, planned: PlannedSweep) -> SweptCurve:
    with seeded(planned.seed, find.device):
        curve, finished = _sweep(find, planned, find.stepper(planned))
    return SweptCurve(
        planned=planned,
        lrs=tuple(curve.lrs),
        losses=tuple(curve.losses),
        smoothed=tuple(curve.smoothed),
        stopped="diverged" if curve.diverged else "finished" if finished else "completed",
        diverged_at_step=len(curve.lrs) - 1 if curve.diverged else None,
    )


def _sweep(find: _Find, planned: PlannedSweep, stepper: Stepper) -> tuple[_Curve, bool]:
    """The curve, and whether it ended early because the listener wanted no more of it."""
    config, batches, listener = find.config, find.batches(planned.seed), find.listener
    rates = exponential_sweep(config.start_lr, config.end_lr, config.num_steps)
    first, groups = planned.number * len(rates), stepper.model.architecture.layer_groups
    curve, pending = _Curve(), Pending[TakenStep](find.device)
    with fed(endless_keys(batches), batches.make, find.device) as ready:
        for step, lr in enumerate(rates):
            lrs = planned.rates(lr, groups)
            set_rates(stepper.optimizer, lrs, SWEEP_MOMENTUM)
            loss = stepper.together(itertools.islice(ready, batches.per_step))
            epoch, number = step // batches.per_epoch, first + step
            pending.add(TakenStep(epoch, number, number, lrs, SWEEP_MOMENTUM), loss)
            command = listener.command()
            over = step + 1 == len(rates) or command is Command.FINISH
            for taken, result in pending.take(everything=over):
                if not curve.diverged:
                    value = result.item()
                    smoothed = curve.add(max(taken.lrs), value)
                    listener.step(_report(taken, value, smoothed, batches))
            _leave_if_asked(command)
            if curve.diverged or over:
                break
    return curve, len(curve.lrs) < config.num_steps


def _report(taken: TakenStep, loss: float, smoothed: float, batches: TrainingBatches) -> StepReport:
    return StepReport(
        phase=PHASE,
        epoch=taken.epoch,
        step=taken.step,
        global_step=taken.global_step,
        loss=loss,
        smoothed=smoothed,
        lrs=taken.lrs,
        momentum=taken.momentum,
        images=batches.batch_size,
    )


def _leave_if_asked(command: Command) -> None:
    if command in {Command.LEAVE, Command.ABANDON}:
        raise StoppedError("sweeping", command.value)
