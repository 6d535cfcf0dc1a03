"""How a run tells what happens and asks what to do."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ml.training_state import TrainingState


class Command(Enum):
    """What the caller wants next."""

    CONTINUE = "continue"
    SAVE = "save"
    """Hand out a checkpoint and go on."""
    LEAVE = "leave"
    """Hand out a checkpoint and return."""
    FINISH = "finish"
    """Train no further; evaluate and keep the model."""
    ABANDON = "abandon"
    """Stop at once; nothing is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReport:
    """One optimiser step."""

    phase: str
    epoch: int
    """Of the whole run, from 0."""
    step: int
    """Within the phase, from 0."""
    global_step: int
    """Of the whole run, from 0."""
    loss: float
    """Mean over the step's photos, before it."""
    smoothed: float
    """Average of the phase's losses with beta 0.98, corrected for its start."""
    lrs: tuple[float, ...]
    """Rate of each layer group, the head last."""
    momentum: float
    images: int
    """Photos of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """One epoch with its validation; the validation figures are None without such photos."""

    phase: str
    epoch: int
    """Of the whole run, from 0."""
    global_step: int
    """Steps taken when it ended, of the whole run."""
    train_loss: float | None
    """Mean of the epoch's step losses; None when the epoch was left before its first step."""
    valid_loss: float | None
    """Mean of ``sample_losses``; smoothed labels and class weights count here as in training."""
    accuracy: float | None
    error_rate: float | None
    seconds: float
    """Wall-clock time of this epoch, its validation included, since its start or its resumption."""
    sample_losses: NDArray[np.float64] | None
    """Loss of each validation photo, in order."""
    sample_predictions: NDArray[np.int64] | None
    """The class that each was taken for, in the same order."""


class Listener(Protocol):
    """Follows and steers a run; called from the thread that trains."""

    def phase(self, name: str) -> None:
        """A phase begins: presizing, sweeping, frozen, unfrozen or evaluating."""

    def presized(self, done: int, total: int) -> None:
        """So many photos are presized."""

    def step(self, report: StepReport) -> None:
        """A step was taken; on CUDA several may be told at once, later."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch and its validation are done."""

    def checkpoint(self, state: TrainingState) -> None:
        """The run can go on from here; the tensors are copies."""

    def warning(self, code: str, detail: str) -> None:
        """Something was done otherwise than asked."""

    def command(self) -> Command:
        """What to do now; asked after each step and between batches of an evaluation."""
