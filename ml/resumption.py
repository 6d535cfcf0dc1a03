"""Whether an interrupted run can go on here and end with the bits it would have ended with."""

from collections.abc import Mapping
from typing import Literal, cast

import torch

from ml.device import Resolved, resolve_precision
from ml.errors import EnvironmentChangedError
from ml.training_state import TrainingState

Elsewhere = Literal["fail", "continue"]
"""What a run does that would go on where its numbers cannot be the same."""


def precision_of(state: TrainingState, device: torch.device) -> Resolved:
    """The number format that the run began with, or what the device has for it."""
    return resolve_precision(cast(Resolved, state.environment["precision"]), device)


def check_same_run(state: TrainingState, run: str) -> None:
    """The state is one of this very run.

    Raises:
        EnvironmentChangedError: It is of another configuration, or other photos.
    """
    if state.run != run:
        raise EnvironmentChangedError([("run", state.run, run)])


def environment_changes(
    state: TrainingState, now: Mapping[str, str | int]
) -> EnvironmentChangedError | None:
    """What decides bits and is not as it was; None where nothing is.

    A state of an earlier version does not know all that is known ``now``; that is not compared.
    """
    was = state.environment
    changes = [(name, was[name], now.get(name)) for name in was if now.get(name) != was[name]]
    return EnvironmentChangedError(changes) if changes else None
