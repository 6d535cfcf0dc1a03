"""All that a fine-tune needs to go on as if it had never stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingState:
    """A moment between two optimiser steps.

    Shuffling and augmentation are pure functions of the seed and the epoch, so no state of them
    is kept.
    """

    run: str
    """Hash of the configuration and the training photos; another run cannot resume from here."""
    environment: dict[str, str | int]
    """What decides bits on this machine: precision, batch size, threads, device, versions."""
    phase: str
    epochs_done: int
    """Epochs trained and evaluated, of the whole run."""
    steps_in_epoch: int
    """Steps taken in the epoch that is under way; all of them when only its evaluation is left."""
    global_step: int
    losses: tuple[float, ...]
    """Loss of each step of the phase so far."""
    scores: tuple[tuple[str, float, float], ...]
    """Of each epoch so far: its phase, validation loss and accuracy; none without such photos."""
    trained_s: float
    """Time that the run has taken so far, in all attempts."""
    model: dict[str, Tensor]
    best_model: dict[str, Tensor] | None
    """As it was after the best epoch so far, where that one is kept."""
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    rng: dict[str, Tensor]
    """State of torch's generators, ``cpu`` and possibly ``cuda``."""


def copied(value: Any) -> Any:  # noqa: ANN401  # any nesting of dicts and lists of tensors
    """The same nesting with every tensor copied to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value
