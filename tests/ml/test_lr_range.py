import contextlib
import dataclasses
import hashlib
import math
import random
import threading
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from ml.backbones import build_model
from ml.cache import Pixels
from ml.config import LrRangeConfig, ModelConfig
from ml.errors import StoppedError
from ml.layer_groups import freeze_body, layer_groups, train_one_group
from ml.lr_range import LrRangeResult, SweptCurve, find_lr
from ml.optimizer import make_optimizer
from ml.photos import LabelledPhoto
from ml.progress import Command, StepReport
from ml.theory.lr_suggestions import analyse
from tests.ml.fakes import RememberingListener, tiny_data, tiny_model

CONFIG = LrRangeConfig(
    model=tiny_model(), data=tiny_data(), start_lr=1e-6, end_lr=1e-2, num_steps=8
)


def find(
    train: list[LabelledPhoto],
    pixels: Pixels,
    listener: RememberingListener,
    config: LrRangeConfig,
) -> LrRangeResult:
    return find_lr(config, train, pixels, listener=listener, device=torch.device("cpu"))


def sweep(
    train: list[LabelledPhoto],
    pixels: Pixels,
    listener: RememberingListener,
    config: LrRangeConfig = CONFIG,
) -> SweptCurve:
    (swept,) = find(train, pixels, listener, config).sweeps
    return swept


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
    result = find(train, pixels, listener, config)

    assert listener.warnings == ["batch_size_reduced"]
    assert result.resolved["batch_size"] == 10


# --- several sweeps --------------------------------------------------------------------------

EACH = dataclasses.replace(CONFIG, sweep="each", num_steps=4)


def test_a_repeat_is_the_sweep_of_the_next_seed(train: list[LabelledPhoto], pixels: Pixels) -> None:
    first, second = find(
        train, pixels, RememberingListener(), dataclasses.replace(CONFIG, repeats=2)
    ).sweeps
    alone = sweep(train, pixels, RememberingListener(), dataclasses.replace(CONFIG, seed=1))

    assert first.losses == sweep(train, pixels, RememberingListener()).losses
    assert second.losses == alone.losses != first.losses


def test_steps_are_numbered_on_from_sweep_to_sweep_and_the_set_begins_anew(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    listener = RememberingListener()
    find(train, pixels, listener, dataclasses.replace(CONFIG, repeats=2, num_steps=5))

    assert [report.step for report in listener.steps] == list(range(10))
    assert [report.global_step for report in listener.steps] == list(range(10))
    assert [report.epoch for report in listener.steps] == [0, 0, 1, 1, 2] * 2
    assert listener.phases == ["sweeping"]


def test_each_layer_group_is_swept_alone_the_head_first(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    listener = RememberingListener()
    result = find(train, pixels, listener, EACH)

    assert [swept.planned.group for swept in result.sweeps] == [2, 1, 0]
    moving = [{group for group, lr in enumerate(report.lrs) if lr} for report in listener.steps]
    assert moving == [{2}] * 4 + [{1}] * 4 + [{0}] * 4
    first_lr = {swept.lrs[0] for swept in result.sweeps}
    assert first_lr == {1e-6}


def test_what_is_not_swept_stands_still(train: list[LabelledPhoto], pixels: Pixels) -> None:
    """The first loss is that of the same model; a group that moves changes the second one."""
    swept = find(
        train, pixels, RememberingListener(), dataclasses.replace(EACH, start_lr=1e-2, end_lr=1.0)
    ).sweeps

    assert len({one.losses[0] for one in swept}) == 1
    assert len({one.losses[1] for one in swept}) == 3


@pytest.mark.parametrize("group", [0, 1, 2])
def test_one_group_trains_and_no_other(group: int) -> None:
    model = build_model(tiny_model("resnet18"), seed=0)
    train_one_group(model, group)

    trains = [
        {member.parameter.requires_grad for member in members} for members in layer_groups(model)
    ]
    assert trains == [{number == group} for number in range(3)]


def _numpy_state() -> str:
    return str(np.random.get_state(legacy=False)["state"]["key"].tolist())


@pytest.mark.parametrize("config", [dataclasses.replace(CONFIG, repeats=3, num_steps=2), EACH])
def test_no_random_number_is_missing_after_several_sweeps(
    train: list[LabelledPhoto], pixels: Pixels, config: LrRangeConfig
) -> None:
    before = torch.random.get_rng_state(), _numpy_state(), random.getstate()
    find(train, pixels, RememberingListener(), config)

    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert _numpy_state() == before[1]
    assert random.getstate() == before[2]


def test_a_batch_that_shrinks_is_warned_of_once(train: list[LabelledPhoto], pixels: Pixels) -> None:
    listener = RememberingListener()
    config = dataclasses.replace(EACH, data=tiny_data(batch_size=64), num_steps=2)
    result = find(train, pixels, listener, config)

    assert listener.warnings == ["batch_size_reduced"]
    assert [len(swept.lrs) for swept in result.sweeps] == [2, 2, 2]


def test_sweeps_that_diverge_at_once_end_one_by_one_without_an_answer(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    listener = RememberingListener()
    wild = dataclasses.replace(CONFIG, start_lr=1e18, end_lr=1e22, num_steps=20, repeats=3)
    result = find(train, pixels, listener, wild)

    assert [swept.stopped for swept in result.sweeps] == ["diverged"] * 3
    assert [swept.diverged_at_step for swept in result.sweeps] == [
        len(swept.lrs) - 1 for swept in result.sweeps
    ]
    assert all(len(swept.lrs) < 20 for swept in result.sweeps)
    starts = [report.step for report in listener.steps if report.lrs[-1] == 1e18]
    assert starts == [0, 20, 40]
    for swept in result.sweeps:
        found = analyse(swept.lrs, swept.losses, smoothed=swept.smoothed, num_steps=20)
        assert found.recommended is None


def test_finish_leaves_out_a_later_sweep_that_is_not_whole(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    listener = RememberingListener({6: Command.FINISH})
    result = find(train, pixels, listener, EACH)

    assert [swept.planned.group for swept in result.sweeps] == [2]
    assert result.sweeps[0].stopped == "completed"
    assert len(listener.steps) == 7


def test_finish_in_the_first_sweep_is_the_end_of_the_find(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    result = find(train, pixels, RememberingListener({1: Command.FINISH}), EACH)

    assert [swept.stopped for swept in result.sweeps] == ["finished"]


def test_leaving_in_a_later_sweep_keeps_nothing(train: list[LabelledPhoto], pixels: Pixels) -> None:
    with pytest.raises(StoppedError):
        find(train, pixels, RememberingListener({6: Command.LEAVE}), EACH)


# --- what a caller keeps ---------------------------------------------------------------------


class Belongings:
    """What a caller of a find has: a half-trained model, its optimizer, random numbers."""

    def __init__(self, architecture: str) -> None:
        self.model = build_model(tiny_model(architecture), seed=3)
        freeze_body(self.model, train_norm_layers=True)
        self.model.body.eval()
        self.optimizer = make_optimizer(self.model, weight_decay=0.01)
        logits = self.model(torch.zeros(4, 3, 32, 32))
        logits.square().sum().backward()
        self.optimizer.step()

    def state(self) -> list[object]:
        """All of it, as what compares; tensors as digests of their bytes."""
        return [
            _plain(self.model.state_dict()),
            [(one.requires_grad, one.grad is None) for one in self.model.parameters()],
            [module.training for module in self.model.modules()],
            _plain(self.optimizer.state_dict()),
            _plain(torch.random.get_rng_state()),
            _numpy_state(),
            random.getstate(),
            (torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype()),
            sorted(thread.name for thread in threading.enumerate() if thread.name == "batches"),
        ]


def _plain(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return hashlib.sha256(value.detach().contiguous().numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


class BreakingListener(RememberingListener):
    """Fails when it is told of the third step."""

    def step(self, report: StepReport) -> None:
        """Two are told."""
        super().step(report)
        if len(self.steps) == 3:
            raise OSError("the disk is full")


@pytest.fixture
def overflowing(tmp_path: Path) -> ModelConfig:
    """Weights that are numbers and make none of the first loss."""
    body = build_model(tiny_model(), seed=0).body.state_dict()
    path = tmp_path / "overflowing.pth"
    torch.save({name: 1e30 * tensor for name, tensor in body.items()}, path)
    return dataclasses.replace(tiny_model(), weights=path)


WILD = dataclasses.replace(CONFIG, start_lr=1e18, end_lr=1e22, num_steps=20)


@pytest.mark.parametrize(
    ("config", "listener", "raises"),
    [
        (CONFIG, RememberingListener(), None),
        (EACH, RememberingListener(), None),
        (WILD, RememberingListener(), None),
        (CONFIG, RememberingListener({3: Command.FINISH}), None),
        (CONFIG, RememberingListener({3: Command.ABANDON}), StoppedError),
        (CONFIG, BreakingListener(), OSError),
    ],
    ids=["completed", "each", "diverged", "finished", "abandoned", "broken"],
)
def test_a_caller_keeps_everything_bit_by_bit_however_a_find_ends(
    train: list[LabelledPhoto],
    pixels: Pixels,
    config: LrRangeConfig,
    listener: RememberingListener,
    raises: type[Exception] | None,
) -> None:
    belongings = Belongings("resnet18")
    before = belongings.state()

    with pytest.raises(raises) if raises else contextlib.nullcontext():
        find(train, pixels, listener, config)

    assert belongings.state() == before


def test_a_first_loss_that_is_not_a_number_ends_the_sweep_and_the_caller_keeps_everything(
    train: list[LabelledPhoto], pixels: Pixels, overflowing: ModelConfig
) -> None:
    belongings = Belongings("squeezenet1_1")
    before = belongings.state()

    swept = sweep(
        train, pixels, RememberingListener(), dataclasses.replace(CONFIG, model=overflowing)
    )

    assert (swept.stopped, swept.diverged_at_step, len(swept.lrs)) == ("diverged", 0, 1)
    assert math.isnan(swept.losses[0])
    assert math.isnan(swept.smoothed[0])
    assert belongings.state() == before


def test_the_weights_that_a_find_begins_with_stay_as_they_are(
    train: list[LabelledPhoto], pixels: Pixels, tmp_path: Path
) -> None:
    """Twice from one file: the same losses, and the file has the same bytes."""
    path = tmp_path / "model.pth"
    torch.save(build_model(tiny_model("resnet18"), seed=5).state_dict(), path)
    config = dataclasses.replace(
        CONFIG,
        model=dataclasses.replace(tiny_model("resnet18"), weights=path),
        sweep="all",
        num_steps=3,
    )
    content = path.read_bytes()

    first, again = (sweep(train, pixels, RememberingListener(), config) for _ in range(2))

    assert first.losses == again.losses
    assert path.read_bytes() == content


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_random_number_of_any_gpu_is_missing_after_a_find_on_the_cpu(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    torch.zeros(1, device="cuda")
    before = [state.tolist() for state in torch.cuda.get_rng_state_all()]

    find(train, pixels, RememberingListener(), CONFIG)

    assert [state.tolist() for state in torch.cuda.get_rng_state_all()] == before


def test_a_set_of_one_batch_is_walked_through_at_every_step(
    train: list[LabelledPhoto], pixels: Pixels
) -> None:
    listener = RememberingListener()
    config = dataclasses.replace(CONFIG, data=tiny_data(batch_size=10))
    swept = sweep(train, pixels, listener, config)

    assert [report.epoch for report in listener.steps] == list(range(8))
    assert listener.warnings == []
    assert len(set(swept.losses)) == 8


@pytest.mark.parametrize("moving", ["frozen_body", "all"])
def test_every_layer_group_has_the_rate_of_the_step(
    train: list[LabelledPhoto], pixels: Pixels, moving: Literal["frozen_body", "all"]
) -> None:
    listener = RememberingListener()
    swept = sweep(train, pixels, listener, dataclasses.replace(CONFIG, sweep=moving))

    assert [report.lrs for report in listener.steps] == [(lr, lr, lr) for lr in swept.lrs]
