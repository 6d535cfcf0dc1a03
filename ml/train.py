"""Fine-tuning: the head alone first, then every layer group at its own rate.

Howard & Ruder 2018, arXiv:1801.06146, as fastai runs it. The run is a state object and small
functions that move it on, so it can be left after any step; resumed on the same CPU it gives
bit-identical weights and losses.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from ml.agreement import heard_by_all
from ml.backbones import ImageClassifier
from ml.cache import Pixels
from ml.config import FineTuneConfig
from ml.errors import LossDivergedError, StoppedError
from ml.evaluate import Logits, Metrics, metrics, no_logits, predict_logits
from ml.feed import fed
from ml.inputs import Inputs
from ml.optimizer import set_rates
from ml.pending import TakenStep
from ml.photos import LabelledPhoto
from ml.progress import Command, Listener
from ml.ranks import ALONE, Ranks
from ml.resumption import Elsewhere
from ml.run_reports import epoch_report, step_report
from ml.seeding import seeded
from ml.step import Batch
from ml.training_run import (
    StopReason,
    TrainingRun,
    current_phase,
    enter_phase,
    entered,
    new_run,
    resumed_run,
    state_of,
)
from ml.training_state import TrainingState, copied

Status = Literal["finished", "left", "stopped"]

EVALUATING = "evaluating"


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneOutcome:
    """What came of a run."""

    model: ImageClassifier
    status: Status
    """``left``: a checkpoint was handed out; ``stopped``: ended early, evaluated."""
    stop_reason: StopReason | None
    """Why it was stopped."""
    kept_epoch: int | None
    """The epoch that the model is of, where the best is kept; None where it is of the last."""
    steps: int
    """Optimiser steps taken, those before a resumption included."""
    epochs_done: int
    """Complete epochs, frozen ones included."""
    resolved: dict[str, str | int]
    """What was decided on this machine: precision, batch size, threads, device, versions, and where
    the photos lay if that was a GPU."""
    valid_logits: Logits
    """The model's of the validation photos, in their order; none of a run that was left."""


def fine_tune(  # noqa: PLR0913  # each is a plain fact that callers hold separately
    config: FineTuneConfig,
    *,
    train: Sequence[LabelledPhoto],
    valid: Sequence[LabelledPhoto],
    pixels: Pixels,
    valid_pixels: Pixels,
    listener: Listener,
    device: torch.device,
    resume: TrainingState | None = None,
    pieces: int = 1,
    elsewhere: Elsewhere = "fail",
    ranks: Ranks = ALONE,
    step_times: Path | None = None,
) -> FineTuneOutcome:
    """The trained model, or a run that was left; torch's random numbers are untouched.

    Without validation photos the figures of validation are None. With ``pieces`` a batch goes
    through the network in so many parts, for want of memory: its gradient is the same, only
    normalisation layers see the photos of one part at a time. Where ``elsewhere`` is
    ``"continue"``, a run from another machine goes on with a warning. Several processes that are
    given the same take the steps of one, and end with the same model; the first one's listener
    is told. Below ``step_times`` it is kept what steps took on a GPU; by that they are taken as a
    CUDA graph or compiled where this pays within the run, and eagerly without such a folder.

    Raises:
        EnvironmentChangedError: ``resume`` comes from another machine, configuration or data.
        LossDivergedError: The loss became infinite or not a number.
        StoppedError: The listener said ABANDON.
        TooFewImagesError: Fewer than two training photos.
        WeightsUnavailableError: The pretrained weights cannot be had.
    """
    inputs = Inputs(
        config=config,
        train=train,
        pixels=pixels,
        valid=valid,
        valid_pixels=valid_pixels,
        listener=heard_by_all(listener, ranks),
        device=device,
        pieces=pieces,
        elsewhere=elsewhere,
        ranks=ranks,
        step_times=step_times,
    )
    with seeded(config.seed, device):
        run = new_run(inputs) if resume is None else resumed_run(inputs, resume)
        while _goes_on(run):
            _epoch(run)
    status = _status(run)
    logits = no_logits(run.model) if status == "left" else _final_logits(run)
    return FineTuneOutcome(
        model=run.model,
        valid_logits=logits,
        status=status,
        stop_reason=run.stop_reason if status == "stopped" else None,
        kept_epoch=run.best_epoch,
        steps=run.global_step,
        epochs_done=run.epochs_done,
        resolved=run.resolved,
    )


def _final_logits(run: TrainingRun) -> Logits:
    """Those of the model that the run ends with, which is the best one where that is to be kept."""
    if run.best_model is not None:
        run.model.load_state_dict(run.best_model)
        run.valid_logits = run.best_logits
    if run.valid_logits is None:
        # it was resumed where nothing is left to train
        run.valid_logits = validation_logits(run, run.inputs.listener.command)
    return run.valid_logits


def _goes_on(run: TrainingRun) -> bool:
    """Whether there is another epoch to train, or one to end."""
    if run.epochs_done == run.epochs or not run.wants(Command.CONTINUE):
        return False
    if run.steps_in_epoch == 0 and run.has_stalled:
        run.stop("early_stopping")
    elif run.steps_in_epoch == 0 and run.global_step > 0 and run.is_over_time:
        run.stop("max_duration")
    return run.wants(Command.CONTINUE)


def _status(run: TrainingRun) -> Status:
    if run.epochs_done == run.epochs:
        return "finished"
    return "left" if run.wants(Command.LEAVE) else "stopped"


def _epoch(run: TrainingRun) -> None:
    """One epoch is trained and evaluated, unless the listener wants to leave in between."""
    began_s = time.perf_counter()
    phase, first_epoch = current_phase(run)
    if run.phase is not phase:
        enter_phase(run)
    run.inputs.listener.phase(phase.name)
    _train_epoch(run, first_epoch)
    if run.wants(Command.LEAVE):
        return
    try:
        validation = _evaluate(run)
    except StoppedError:
        if run.wants(Command.LEAVE):
            return
        raise
    _remember(run, phase.name, validation)
    run.inputs.listener.epoch(epoch_report(run, validation, time.perf_counter() - began_s))
    if run.epoch_is_trained:
        run.epochs_done += 1
        run.steps_in_epoch = 0


def _remember(run: TrainingRun, phase: str, validation: Metrics | None) -> None:
    """The epoch's score is known, and its model where it is the best so far and is to be kept."""
    if validation is None:
        return
    run.scores.append((phase, validation.loss, validation.accuracy))
    if run.best_epoch == len(run.scores) - 1:
        run.best_model = copied(run.model.state_dict())
        run.best_logits = run.valid_logits


def _train_epoch(run: TrainingRun, first_epoch: int) -> None:
    """The rest of the epoch's steps are taken, or those up to a wish of the listener."""
    run.model.train()
    run.valid_logits = None
    keys = run.batches.keys(run.epochs_done, first=run.steps_in_epoch)
    before = (run.epochs_done - first_epoch) * run.batches.per_epoch
    phase, forms = entered(run)
    forms.epoch_begins(steps_left=len(phase.lr) - before - run.steps_in_epoch)
    with fed(keys, run.batches.make, run.inputs.device) as ready:
        while not run.epoch_is_trained:
            batches = itertools.islice(ready, run.batches.per_step)
            take_step(run, batches, before + run.steps_in_epoch)
            _obey(run)
            if run.wants(Command.CONTINUE) and run.is_over_time:
                run.stop("max_duration")
            if not run.wants(Command.CONTINUE):
                break
    forms.epoch_ends()
    _report_steps(run, everything=True)


def take_step(run: TrainingRun, batches: Iterable[Batch], step: int) -> None:
    """One step of the entered phase is taken over all the batches and, as losses come in, told.

    Raises:
        LossDivergedError: The loss became infinite or not a number.
    """
    phase, forms = entered(run)
    stepper, lrs, momentum = forms.stepper, phase.lr[step], phase.momentum[step]
    set_rates(stepper.optimizer, lrs, momentum)
    taken = TakenStep(run.epochs_done, step, run.global_step, lrs, momentum)
    run.pending.add(taken, stepper.together(batches))
    run.steps_in_epoch += 1
    run.global_step += 1
    _report_steps(run)


def _report_steps(run: TrainingRun, *, everything: bool = False) -> None:
    _, forms = entered(run)
    arrived = run.pending.take(everything=everything)
    forms.arrived(len(arrived))
    for taken, result in arrived:
        loss = result.item()
        if not math.isfinite(loss):
            raise LossDivergedError(taken.global_step)
        run.losses.append(loss)
        smoothed = run.smoother.update(loss)
        run.inputs.listener.step(step_report(run, taken, loss, smoothed))


def _obey(run: TrainingRun) -> None:
    """What the listener commands is done or, for LEAVE and FINISH, noted as its wish."""
    command = run.inputs.listener.command()
    if command is Command.ABANDON:
        raise StoppedError("training", command.value)
    if command in {Command.SAVE, Command.LEAVE}:
        _report_steps(run, everything=True)
        # all processes stand at the same point, with the same weights and random numbers
        if run.inputs.ranks.is_first:
            run.inputs.listener.checkpoint(state_of(run))
    if command is Command.LEAVE:
        run.wish = command
    elif command is Command.FINISH and run.wants(Command.CONTINUE):
        run.stop("user")


def _evaluate(run: TrainingRun) -> Metrics | None:
    inputs = run.inputs
    inputs.listener.phase(EVALUATING)

    def command() -> Command:
        _obey(run)
        return run.wish

    run.valid_logits = validation_logits(run, command)
    return metrics(
        run.valid_logits,
        inputs.valid,
        label_smoothing=inputs.config.label_smoothing,
        class_weights=inputs.config.class_weights,
    )


def validation_logits(run: TrainingRun, command: Callable[[], Command]) -> Logits:
    """The model's answer to every photo kept for validation; the command is asked as it goes.

    Raises:
        StoppedError: The command was LEAVE or ABANDON.
    """
    inputs, data = run.inputs, run.inputs.config.data
    return predict_logits(
        run.model,
        inputs.valid_pixels,
        inputs.valid,
        size=data.size,
        batch_size=inputs.photos_at_once,
        precision=run.precision,
        device=inputs.device,
        command=command,
        ranks=inputs.ranks,
    )
