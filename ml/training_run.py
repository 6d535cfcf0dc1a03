"""The state of a fine-tune under way: made new, entered phase by phase, saved and restored."""

import hashlib
import itertools
import time
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ml.backbones import ImageClassifier, build_model, empty_model
from ml.config import NO_WEIGHTS
from ml.device import Resolved, resolve_precision
from ml.evaluate import Logits
from ml.inputs import Inputs
from ml.layer_groups import freeze_body, unfreeze
from ml.optimizer import make_optimizer
from ml.pending import Pending, TakenStep
from ml.phase_forms import PhaseForms, phase_forms
from ml.placement import place_of
from ml.progress import Command
from ml.resumption import check_same_run, environment_changes, precision_of
from ml.seeding import restore_rng_state, rng_state
from ml.shared_layers import share_layers
from ml.step import Stepper, make_scaler, replicated
from ml.theory.early_stopping import Metric, best_place, has_stalled
from ml.theory.schedules import FineTunePlan, LossSmoother, Phase, fine_tune_phases
from ml.training_batches import TrainingBatches, fitting_accumulate, fitting_batch_size
from ml.training_state import TrainingState, copied

StopReason = Literal["user", "early_stopping", "max_duration"]


@dataclass(slots=True, kw_only=True)
class TrainingRun:
    """A fine-tune between two steps."""

    inputs: Inputs
    precision: Resolved
    batches: TrainingBatches
    phases: tuple[Phase, ...]
    """Those that have steps."""
    model: ImageClassifier
    pending: Pending[TakenStep]
    """Losses of steps."""
    phase: Phase | None = None
    """The one that was entered last."""
    forms: PhaseForms | None = None
    """What takes the steps of that phase."""
    epochs_done: int = 0
    steps_in_epoch: int = 0
    global_step: int = 0
    losses: list[float] = field(default_factory=list)
    """Of the phase so far."""
    smoother: LossSmoother = field(default_factory=LossSmoother)
    wish: Command = Command.CONTINUE
    """LEAVE or FINISH once the listener has said so, or FINISH with a ``stop_reason``."""
    stop_reason: StopReason | None = None
    """Why the run ends before its last epoch."""
    scores: list[tuple[str, float, float]] = field(default_factory=list)
    """Of each evaluated epoch: its phase, validation loss and accuracy."""
    best_model: dict[str, Tensor] | None = None
    """A copy of the weights after the best epoch so far, where that one is to be kept."""
    valid_logits: Logits | None = None
    """The model's, as it is now; None while they are not known."""
    best_logits: Logits | None = None
    """The best model's; None where they were not worked out since a resumption."""
    began_s: float = field(default_factory=time.perf_counter)
    """When it would have begun, had it never been interrupted."""

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def resolved(self) -> dict[str, str | int]:
        """What was decided on this machine: what decides bits, where photos lie, how steps go."""
        found = self.batches.environment(self.precision)
        found |= place_of(self.inputs.pixels, self.inputs.device)
        return found if self.forms is None else {**found, **self.forms.resolved}

    @property
    def epoch_is_trained(self) -> bool:
        """Whether only the evaluation of the epoch is left."""
        return self.steps_in_epoch == self.batches.per_epoch

    @property
    def trained_s(self) -> float:
        """Time taken so far, in all attempts."""
        return time.perf_counter() - self.began_s

    @property
    def has_stalled(self) -> bool:
        """Whether early stopping finds no more epochs worth their time."""
        early = self.inputs.config.early_stopping
        if early is None:
            return False
        values = self._values(early.metric, "unfrozen")
        return has_stalled(values, early.metric, patience=early.patience, min_delta=early.min_delta)

    @property
    def is_over_time(self) -> bool:
        """Whether the time that the run may take is over, by the first process's clock."""
        limit_s = self.inputs.config.max_duration_s
        return limit_s is not None and self.inputs.ranks.agreed(self.trained_s >= limit_s)

    @property
    def best_epoch(self) -> int | None:
        """The epoch whose model is kept; None where that is the last one, whatever its score."""
        metric = self.inputs.config.keep_best
        return None if metric is None else best_place(self._values(metric), metric)

    def _values(self, metric: Metric, phase: str | None = None) -> list[float]:
        place = 1 if metric == "valid_loss" else 2
        return [float(score[place]) for score in self.scores if phase in {None, score[0]}]

    def stop(self, reason: StopReason) -> None:
        """No further step is taken; what is reached is evaluated."""
        self.wish, self.stop_reason = Command.FINISH, reason

    def wants(self, command: Command) -> bool:
        """Whether this is the listener's standing wish."""
        return self.wish is command


def new_run(inputs: Inputs) -> TrainingRun:
    """A run before its first step, with pretrained weights in place."""
    config = inputs.config
    model = build_model(config.model, seed=config.seed)
    _warn_unheard(inputs)
    if config.model.weights == NO_WEIGHTS and config.freeze_epochs > 0:
        inputs.listener.warning(
            "frozen_random_body", "the body has random weights and is frozen in the first phase"
        )
    return _run(inputs, model)


def _warn_unheard(inputs: Inputs) -> None:
    """Wishes that need validation photos are not silently dropped where there are none."""
    config = inputs.config
    if not inputs.valid and (config.early_stopping or config.keep_best):
        inputs.listener.warning(
            "no_valid_photos",
            "there are no photos for validation: no epoch is better than another, so the "
            "training goes to its end and the last model is kept",
        )


def resumed_run(inputs: Inputs, state: TrainingState) -> TrainingRun:
    """The run as it stood when the state was taken; torch's generators stand there, too.

    It computes in the number format that it began with.

    Raises:
        EnvironmentChangedError: The run is another one, or its numbers would not be those of the
            run left alone and ``inputs.elsewhere`` is ``"fail"``.
    """
    config = inputs.config
    run = _run(inputs, empty_model(config.model.architecture, config.model.num_classes))
    run.precision = precision_of(state, inputs.device)
    _check_same(state, run)
    run.epochs_done = state.epochs_done
    run.steps_in_epoch = state.steps_in_epoch
    run.global_step = state.global_step
    run.model.load_state_dict(state.model)
    stepper = enter_phase(run).eager
    stepper.optimizer.load_state_dict(copied(state.optimizer))
    stepper.scaler.load_state_dict(state.scaler)
    for loss in state.losses:
        run.losses.append(loss)
        run.smoother.update(loss)
    run.scores = list(state.scores)
    run.best_model = state.best_model
    run.began_s -= state.trained_s
    restore_rng_state(state.rng, inputs.device)
    return run


def current_phase(run: TrainingRun) -> tuple[Phase, int]:
    """The phase of the epoch under way, and the number of the phase's first epoch."""
    starts = itertools.accumulate((phase.epochs for phase in run.phases), initial=0)
    return next(
        (phase, start)
        for phase, start in zip(run.phases, starts, strict=False)
        if run.epochs_done < start + phase.epochs
    )


def enter_phase(run: TrainingRun) -> PhaseForms:
    """The phase's weights train, with a fresh optimiser and a fresh average of the loss."""
    config, device = run.inputs.config, run.inputs.device
    run.phase, _ = current_phase(run)
    if run.phase.name == "frozen":
        freeze_body(run.model, train_norm_layers=config.train_norm_layers)
    else:
        unfreeze(run.model)
    run.losses, run.smoother = [], LossSmoother()
    if run.forms is not None:
        run.forms.go_eager()
    # a replica that is gone looks at no gradient of the next one
    run.forms = None
    stepper = Stepper(
        run.model,
        make_optimizer(run.model, weight_decay=config.weight_decay, rate_per=config.rate_per),
        make_scaler(run.precision, device),
        run.precision,
        config.label_smoothing,
        None if config.class_weights is None else torch.tensor(config.class_weights, device=device),
        run.inputs.ranks,
        replicated(run.model, run.inputs.ranks, device),
    )
    run.forms = phase_forms(stepper, run.inputs, run.batches, run.precision)
    return run.forms


def entered(run: TrainingRun) -> tuple[Phase, PhaseForms]:
    """The phase under way and what takes its steps."""
    assert run.phase is not None and run.forms is not None  # noqa: S101, PT018  # entered by now
    return run.phase, run.forms


def state_of(run: TrainingRun) -> TrainingState:
    """A copy of all that a resumption needs."""
    phase, forms = entered(run)
    return TrainingState(
        run=_fingerprint(run.inputs),
        environment=run.batches.environment(run.precision),
        phase=phase.name,
        epochs_done=run.epochs_done,
        steps_in_epoch=run.steps_in_epoch,
        global_step=run.global_step,
        losses=tuple(run.losses),
        scores=tuple(run.scores),
        trained_s=run.trained_s,
        model=copied(run.model.state_dict()),
        best_model=run.best_model,
        optimizer=copied(forms.eager.optimizer.state_dict()),
        scaler=copied(forms.eager.scaler.state_dict()),
        rng=rng_state(run.inputs.device),
    )


def _run(inputs: Inputs, model: ImageClassifier) -> TrainingRun:
    config = inputs.config
    model, precision = model.to(inputs.device), resolve_precision(config.precision, inputs.device)
    inputs, ranks = inputs.placed(model, precision), inputs.ranks
    share_layers(model, ranks)
    batch_size = fitting_batch_size(
        config.data.batch_size, len(inputs.train), inputs.listener, ranks
    )
    batches = TrainingBatches(
        inputs.train,
        inputs.pixels,
        config.data,
        batch_size,
        config.seed,
        inputs.device,
        fitting_accumulate(config.accumulate, len(inputs.train), batch_size, inputs.listener),
        config.class_weights,
        inputs.pieces,
        ranks,
    )
    plan = FineTunePlan(
        epochs=config.epochs,
        freeze_epochs=config.freeze_epochs,
        steps_per_epoch=batches.per_epoch,
        frozen_peaks=config.frozen_peaks,
        unfrozen_peaks=config.unfrozen_peaks,
        pct_start=config.pct_start,
        div=config.div,
    )
    return TrainingRun(
        inputs=inputs,
        precision=precision,
        batches=batches,
        phases=tuple(phase for phase in fine_tune_phases(plan) if phase.epochs > 0),
        model=model,
        pending=Pending(inputs.device),
    )


def _fingerprint(inputs: Inputs) -> str:
    photos = [(photo.digest, photo.label) for photo in inputs.train]
    return hashlib.sha256(repr((inputs.config, photos)).encode()).hexdigest()


def _check_same(state: TrainingState, run: TrainingRun) -> None:
    inputs = run.inputs
    check_same_run(state, _fingerprint(inputs))
    changed = environment_changes(state, run.batches.environment(run.precision))
    if changed is None:
        return
    if inputs.elsewhere == "fail":
        raise changed
    inputs.listener.warning(
        "environment_changed", f"{changed}; the run goes on, and its bits may be others"
    )
