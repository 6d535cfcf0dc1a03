"""The same bits each time, whoever prepares the batches and wherever the run was interrupted."""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ml.augment import DrawKey, augmented_batch
from ml.cache import Pixels
from ml.centres import centre_form, open_centres
from ml.checkpoint import load, save
from ml.config import AugmentConfig, FineTuneConfig, LrRangeConfig
from ml.determinism import prefer_repeatable_kernels, tell_gaps
from ml.head import create_head
from ml.lr_range import find_lr
from ml.originals import Originals
from ml.photos import LabelledPhoto
from ml.presized_pixels import open_pixels
from ml.progress import Command
from ml.train import FineTuneOutcome, fine_tune
from ml.training_state import TrainingState
from tests.ml.fakes import FORM, RememberingListener, tiny_data, tiny_model

CPU = torch.device("cpu")
# modules whose settings torch declares to no type checker
DETERMINISTIC: Any = torch.utils.deterministic
CUDNN: Any = torch.backends.cudnn

Photos = list[LabelledPhoto]

# body with norm layers, dropout in the head, an epoch whose model is kept, reduced precision
CONFIG = FineTuneConfig(
    model=tiny_model("mnasnet0_5"),
    data=tiny_data(),
    epochs=2,
    frozen_peaks=(1e-4, 1e-4, 1e-3),
    unfrozen_peaks=(1e-3, 1e-2, 1e-2),
    label_smoothing=0.1,
    class_weights=(1.0, 2.0),
    keep_best="valid_loss",
    precision="bf16",
    seed=11,
)


def run(
    config: FineTuneConfig,
    train: Photos,
    valid: Photos,
    pixels: tuple[Pixels, Pixels],
    *,
    listener: RememberingListener | None = None,
    resume: TrainingState | None = None,
) -> tuple[FineTuneOutcome, RememberingListener]:
    listener = listener or RememberingListener()
    outcome = fine_tune(
        config,
        train=train,
        valid=valid,
        pixels=pixels[0],
        valid_pixels=pixels[1],
        listener=listener,
        device=CPU,
        resume=resume,
    )
    return outcome, listener


def bits_of(*runs: tuple[FineTuneOutcome, RememberingListener]) -> dict[str, object]:
    """All that a run, in one or more attempts, leaves behind, but for its times."""
    steps = [step for _, listener in runs for step in listener.steps]
    epochs = [epoch for _, listener in runs for epoch in listener.epochs]
    weights = runs[-1][0].model.state_dict()
    return {
        "steps": steps,
        "epochs": [
            dataclasses.replace(e, seconds=0, sample_losses=None, sample_predictions=None)
            for e in epochs
        ],
        "samples": [None if e.sample_losses is None else e.sample_losses.tobytes() for e in epochs],
        "predictions": [
            None if e.sample_predictions is None else e.sample_predictions.tolist() for e in epochs
        ],
        "weights": {name: tensor.numpy().tobytes() for name, tensor in weights.items()},
        "kept_epoch": runs[-1][0].kept_epoch,
    }


@pytest.fixture(scope="module")
def undisturbed(
    train: Photos, valid: Photos, pixels: Pixels, valid_pixels: Pixels
) -> dict[str, object]:
    return bits_of(run(CONFIG, train, valid, (pixels, valid_pixels)))


def test_a_run_repeats_whatever_was_drawn_and_computed_before(
    undisturbed: dict[str, object],
    train: Photos,
    valid: Photos,
    pixels: Pixels,
    valid_pixels: Pixels,
) -> None:
    torch.manual_seed(99)
    torch.rand(7)
    np.random.seed(3)

    assert bits_of(run(CONFIG, train, valid, (pixels, valid_pixels))) == undisturbed


# An epoch has two steps, and the first of three is frozen.
@pytest.mark.parametrize(
    ("at", "steps"),
    [
        ("in the frozen phase", [1]),
        ("between the phases", [2]),
        ("in the unfrozen phase", [3]),
        ("between two unfrozen epochs", [4]),
        ("at each of these", [1, 2, 3, 4, 5]),
    ],
)
def test_a_run_that_pauses_and_resumes_ends_with_the_same_bits(
    undisturbed: dict[str, object],
    train: Photos,
    valid: Photos,
    pixels: Pixels,
    valid_pixels: Pixels,
    tmp_path: Path,
    at: str,
    steps: list[int],
) -> None:
    attempts, state, done = [], None, 0
    for stop in [*steps, None]:
        leave = {} if stop is None else {stop - done: Command.LEAVE}
        listener = RememberingListener(leave)
        attempt = run(CONFIG, train, valid, (pixels, valid_pixels), listener=listener, resume=state)
        attempts.append(attempt)
        if stop is not None:
            save(tmp_path / "checkpoint", listener.states[-1])
            state, done = load(tmp_path / "checkpoint"), stop

    assert [attempt[0].status for attempt in attempts] == ["left"] * len(steps) + ["finished"]
    assert bits_of(*attempts) == undisturbed


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_pixels_that_are_made_meanwhile_give_the_same_bits_however_many_threads_make_them(
    undisturbed: dict[str, object], train: Photos, valid: Photos, tmp_path: Path, threads: int
) -> None:
    def growing(photos: Photos) -> Pixels:
        return open_pixels(
            photos, folder=tmp_path, form=FORM, threads=threads, should_stop=lambda: False
        )

    centres = open_centres(
        [photo.digest for photo in valid],
        lambda: growing(valid),
        size=CONFIG.data.size,
        form=centre_form(FORM, size=CONFIG.data.size, stored="raw"),
        folder=tmp_path,
        should_stop=lambda: False,
    )
    with contextlib.closing(growing(train)) as pixels, contextlib.closing(centres):
        assert bits_of(run(CONFIG, train, valid, (pixels, centres))) == undisturbed


def test_original_photos_do_not_depend_on_how_many_threads_decode(
    train: Photos, valid: Photos
) -> None:
    def bits(threads: int) -> dict[str, object]:
        both = [Originals(photos, side=48, threads=threads) for photos in (train, valid)]
        found = bits_of(run(CONFIG, train, valid, (both[0], both[1])))
        for originals in both:
            originals.close()
        return found

    assert bits(1) == bits(4)


def test_batches_do_not_depend_on_how_many_threads_compute(pixels: Pixels) -> None:
    def batch() -> Tensor:
        return augmented_batch(
            pixels,
            np.arange(10),
            size=32,
            augment=AugmentConfig(),
            key=DrawKey(1, 2),
            device=CPU,
        )

    one = batch()
    torch.set_num_threads(2)
    two = batch()
    torch.set_num_threads(1)

    assert torch.equal(one, two)


def test_a_find_repeats_in_every_number(train: Photos, pixels: Pixels) -> None:
    config = LrRangeConfig(
        model=tiny_model("mnasnet0_5"), data=tiny_data(), num_steps=12, repeats=2, precision="bf16"
    )

    first, second = (
        find_lr(config, train, pixels, listener=RememberingListener(), device=CPU) for _ in range(2)
    )

    assert first == second


# --- kernels ----------------------------------------------------------------------------------


@pytest.fixture
def as_a_trainer() -> Iterator[None]:
    """Torch is asked for what a trainer asks for, until the test ends."""
    fill, precision = DETERMINISTIC.fill_uninitialized_memory, CUDNN.conv.fp32_precision
    with warnings.catch_warnings():
        prefer_repeatable_kernels()
        yield
    torch.use_deterministic_algorithms(False)
    DETERMINISTIC.fill_uninitialized_memory, CUDNN.conv.fp32_precision = fill, precision


def test_a_trainer_asks_for_deterministic_kernels_and_true_float32(as_a_trainer: None) -> None:
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert CUDNN.conv.fp32_precision == "ieee"
    assert torch.get_float32_matmul_precision() == "highest"


def test_on_the_cpu_every_kernel_of_a_training_is_deterministic(
    as_a_trainer: None,
    undisturbed: dict[str, object],
    train: Photos,
    valid: Photos,
    pixels: Pixels,
    valid_pixels: Pixels,
) -> None:
    # not a warning but an error, where there is none
    torch.use_deterministic_algorithms(True)

    assert bits_of(run(CONFIG, train, valid, (pixels, valid_pixels))) == undisturbed


def test_a_kernel_that_need_not_repeat_is_told_once_by_its_name(as_a_trainer: None) -> None:
    told: list[str] = []
    tell_gaps(told.append)

    for _ in range(3):
        torch.zeros(3).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))
    warnings.warn("Flash Attention defaults to a non-deterministic algorithm. To …", stacklevel=1)

    assert told == ["put_", "Flash Attention defaults to a non-deterministic algorithm"]


def test_other_warnings_are_shown_as_ever(as_a_trainer: None) -> None:
    told: list[str] = []
    shown: list[str] = []
    warnings.showwarning = lambda message, *rest: shown.append(str(message))
    warnings.simplefilter("always")
    tell_gaps(told.append)

    warnings.warn("the disk is nearly full", stacklevel=1)

    assert (told, shown) == ([], ["the disk is nearly full"])


def test_the_head_pools_without_the_kernels_that_cuda_has_no_deterministic_form_of() -> None:
    head = create_head(4, 2)
    maps = torch.randn(8, 4, 3, 3, requires_grad=True)

    with _Recorder() as recorder:
        head(maps).sum().backward()

    assert "aten.native_batch_norm_backward.default" in recorder.names, "gradients are recorded"
    assert not {name for name in recorder.names if "pool" in name}


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own gap
    """The names of all kernels that run, those of the gradient included."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204  # as torch defines it
        self.names.add(str(func))
        return func(*args, **(kwargs or {}))
