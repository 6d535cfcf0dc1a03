"""A batch that goes through the network in pieces, for want of memory, is still one step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ml.cache import Pixels
from ml.config import FineTuneConfig
from ml.errors import is_out_of_memory
from ml.photos import LabelledPhoto
from ml.progress import Command
from ml.train import fine_tune
from ml.training_batches import TrainingBatches
from tests.ml.fakes import RememberingListener, tiny_data, tiny_model

CPU = torch.device("cpu")
CONFIG = FineTuneConfig(
    model=tiny_model(),
    data=tiny_data(),
    epochs=1,
    freeze_epochs=1,
    frozen_peaks=(1e-4, 1e-4, 1e-3),
    unfrozen_peaks=(1e-5, 1e-4, 1e-3),
    seed=3,
)


def batches(photos: list[LabelledPhoto], pixels: Pixels, size: int) -> TrainingBatches:
    return TrainingBatches(photos, pixels, tiny_data(batch_size=size), size, 3, CPU)


@pytest.mark.parametrize(("size", "pieces"), [(4, 2), (5, 2), (8, 4)])
@pytest.mark.parametrize("weights", [None, (1.0, 3.0)])
def test_the_pieces_of_a_batch_are_its_photos_in_their_order(
    train: list[LabelledPhoto],
    pixels: Pixels,
    size: int,
    pieces: int,
    weights: tuple[float, ...] | None,
) -> None:
    whole = replace(batches(train, pixels, size), class_weights=weights)
    divided = replace(whole, pieces=pieces)

    expected, found = whole.keys(0), divided.keys(0)

    assert divided.per_epoch == whole.per_epoch
    assert len(found) == pieces * len(expected)
    for number, batch in enumerate(expected):
        parts = found[number * pieces : (number + 1) * pieces]
        assert np.concatenate([part.positions for part in parts]).tolist() == list(batch.positions)
        assert sum(part.share for part in parts) == pytest.approx(1.0)


def test_a_piece_counts_by_its_photos(train: list[LabelledPhoto], pixels: Pixels) -> None:
    """Five photos in two pieces are three and two."""
    divided = replace(batches(train, pixels, 5), pieces=2)

    assert [key.share for key in divided.keys(0)[:2]] == pytest.approx([3 / 5, 2 / 5])


def test_a_run_goes_on_in_smaller_pieces_with_the_same_steps(
    train: list[LabelledPhoto], valid: list[LabelledPhoto], pixels: Pixels, valid_pixels: Pixels
) -> None:
    parts = {"train": train, "valid": valid, "pixels": pixels, "valid_pixels": valid_pixels}
    undisturbed = RememberingListener()
    fine_tune(CONFIG, **parts, listener=undisturbed, device=CPU)  # type: ignore[arg-type]  # a table
    first, second = RememberingListener({1: Command.LEAVE}), RememberingListener()

    fine_tune(CONFIG, **parts, listener=first, device=CPU)  # type: ignore[arg-type]  # a table
    outcome = fine_tune(
        CONFIG,
        **parts,  # type: ignore[arg-type]  # a table
        listener=second,
        device=CPU,
        resume=first.states[-1],
        pieces=2,
    )

    assert outcome.status == "finished"
    told = [(step.global_step, step.lrs) for step in (*first.steps, *second.steps)]
    assert told == [(step.global_step, step.lrs) for step in undisturbed.steps]


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_lack_of_memory_is_known_whoever_tells_it(problem: Exception) -> None:
    assert is_out_of_memory(problem)


@pytest.mark.parametrize(
    "problem", [RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError(1)]
)
def test_other_errors_are_no_lack_of_memory(problem: Exception) -> None:
    assert not is_out_of_memory(problem)
