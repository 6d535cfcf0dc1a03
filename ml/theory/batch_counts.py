"""How many batches and optimiser steps one pass over a training set has."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """What is used of a wished batch size and number of batches per step."""

    batch_size: int
    """Photos in one forward pass."""
    accumulate: int
    """Batches in one optimiser step."""
    steps_per_epoch: int
    """Full optimiser steps in one pass; what is left over is left out."""


def fitting(photos: int, *, batch_size: int, accumulate: int = 1) -> BatchCounts:
    """The wished counts, or what there are photos for: first whole batches, then more of them.

    ``photos`` is 1 or more; there is always a step.
    """
    size = min(batch_size, photos)
    together = min(accumulate, photos // size)
    return BatchCounts(
        batch_size=size, accumulate=together, steps_per_epoch=photos // (size * together)
    )
