import dataclasses
import math

import pytest
import torch

from ml.cache import Pixels
from ml.config import LrRangeConfig
from ml.errors import StoppedError
from ml.lr_range import LrRangeResult, find_lr
from ml.photos import LabelledPhoto
from ml.progress import Command
from tests.ml.fakes import RememberingListener, tiny_data, tiny_model

CONFIG = LrRangeConfig(
    model=tiny_model(), data=tiny_data(), start_lr=1e-6, end_lr=1e-2, num_steps=8
)


def sweep(
    train: list[LabelledPhoto],
    pixels: Pixels,
    listener: RememberingListener,
    config: LrRangeConfig = CONFIG,
) -> LrRangeResult:
    return find_lr(config, train, pixels, listener=listener, device=torch.device("cpu"))


def test_rates_grow_by_one_factor_and_end_just_below_the_last(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    result = sweep(train, pixels, RememberingListener())

    assert result.stopped == "completed"
    assert result.diverged_at_step is None
    assert result.lrs == pytest.approx([10 ** (-6 + step / 2) for step in range(8)])
    assert len(result.losses) == len(result.smoothed) == 8


def test_a_short_set_is_walked_through_again(train: list[LabelledPhoto], pixels: Pixels) -> None:
    listener = RememberingListener()
    sweep(train, pixels, listener)

    assert [report.epoch for report in listener.steps] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {report.lrs for report in listener.steps[:1]} == {(1e-6, 1e-6, 1e-6)}


def test_the_first_smoothed_loss_is_the_first_loss(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    result = sweep(train, pixels, RememberingListener())

    assert result.smoothed[0] == pytest.approx(result.losses[0])


def test_two_sweeps_with_one_seed_agree_bit_by_bit(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    first = sweep(train, pixels, RememberingListener())

    assert sweep(train, pixels, RememberingListener()).losses == first.losses


def test_huge_rates_diverge_and_the_last_point_is_kept(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    wild = dataclasses.replace(CONFIG, start_lr=1e-2, end_lr=1e20, num_steps=60)
    result = sweep(train, pixels, RememberingListener(), wild)

    assert result.stopped == "diverged"
    assert result.diverged_at_step == len(result.lrs) - 1
    last, best = result.smoothed[-1], min(s for s in result.smoothed if not math.isnan(s))
    assert math.isnan(last) or last > 4 * best


def test_finish_keeps_the_curve_so_far(train: list[LabelledPhoto], pixels: Pixels) -> None:
    result = sweep(train, pixels, RememberingListener({3: Command.FINISH}))

    assert result.stopped == "finished"
    assert len(result.lrs) == 4


@pytest.mark.parametrize("command", [Command.LEAVE, Command.ABANDON])
def test_leaving_keeps_nothing(
    train: list[LabelledPhoto], pixels: Pixels, command: Command
) -> None:
    with pytest.raises(StoppedError, match=command.value):
        sweep(train, pixels, RememberingListener({2: command}))


def test_a_batch_larger_than_the_set_shrinks_with_a_warning(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    listener = RememberingListener()
    config = dataclasses.replace(CONFIG, data=tiny_data(batch_size=64), num_steps=2)
    result = sweep(train, pixels, listener, config)

    assert listener.warnings == ["batch_size_reduced"]
    assert result.resolved["batch_size"] == 10
