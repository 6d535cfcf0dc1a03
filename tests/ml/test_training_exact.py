"""What the spec of a training says, seen in the real loop: at every optimiser step of `fine_tune`.

The loop trains a tiny network; torch's own hooks tell what its optimiser was given and did.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ml.config import EarlyStopping, FineTuneConfig
from ml.loader import shuffled_batches
from ml.progress import Command
from ml.theory.layer_rates import (
    LearningRate,
    LowestHighest,
    LrMult,
    PerGroup,
    geometric,
    resolve_peaks,
    tenth_below,
)
from tests.golden.figures import Case, cases
from tests.ml.fakes import RememberingListener
from tests.ml.tiny_nets import Bench, Course, Seen, data, photos

NORMS = {"body.low.1.weight", "body.low.1.bias", "body.mid.1.weight", "body.mid.1.bias"}
HEAD = {"head.out.weight", "head.out.bias"}
BODY = {f"body.{part}.0.{kind}" for part in ("low", "mid") for kind in ("weight", "bias")}
DECAYING = {"body.low.0.weight", "body.mid.0.weight", "head.out.weight"}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


# --- schedules, against figures recorded from fastai ------------------------------------------


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("one_cycle"))
def test_every_step_has_fastais_rates_momenta_decay_and_gradients(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(monkeypatch, groups=case["groups"])
    config = _config_of(bench, case)

    course = bench.run(config, train=photos(2 * case["batches_per_epoch"]))

    phases = case["phases"]
    steps = [step for phase in phases for step in range(phase["n_epoch"] * phase["n_iter"])]
    assert [report.step for report in course.listener.steps] == steps
    done = 0
    for phase in phases:
        taken = course.steps[done : done + len(phase["lr"])]
        done += len(phase["lr"])
        _assert_as_recorded(taken, phase, case["groups"])
    assert done == len(course.steps)


def _config_of(bench: Bench, case: Case) -> FineTuneConfig:
    args, changes = case["args"], {"data": data(batch_size=2), "epochs": case["epochs"]}
    if case["kind"] == "fine_tune":
        peaks = resolve_peaks(
            2e-3, num_groups=case["groups"], discriminative=LrMult(args.get("lr_mult", 100))
        )
        changes |= {"frozen_peaks": peaks.frozen, "unfrozen_peaks": peaks.unfrozen}
        changes |= {key: args[key] for key in ("pct_start", "div") if key in args}
        changes |= {"train_norm_layers": case["learner_args"].get("train_bn", True)}
    else:
        # a single cycle is a fine-tune without a frozen phase
        changes |= {"freeze_epochs": 0, "unfrozen_peaks": _peaks(case), "div": 25.0}
        changes |= {"pct_start": args.get("pct_start", 0.25)}
    return bench.config(**changes, weight_decay=args.get("wd", 0.01))


def _peaks(case: Case) -> tuple[float, ...]:
    asked, groups = case["lr_max"], int(case["groups"])
    if isinstance(asked, dict):
        low, high = asked["slice"]
        return geometric(low, high, groups) if low else tenth_below(high, groups)
    return (float(asked or case["learner_args"]["lr"]),) * groups


def _assert_as_recorded(taken: list[dict[str, Seen]], phase: Case, groups: int) -> None:
    parts = {1: [""], 2: ["body", "head.out"], 3: ["body.low", "body.mid", "head.out"]}[groups]
    for step, rates, momenta in zip(taken, phase["lr"], phase["mom"], strict=True):
        for part, lr, momentum, decay in zip(parts, rates, momenta, phase["wd"], strict=True):
            members = {name: seen for name, seen in step.items() if name.startswith(part)}
            assert members
            for seen in members.values():
                assert seen.lr == pytest.approx(lr, rel=5e-5, abs=1e-9)
                assert seen.momentum == pytest.approx(momentum, rel=5e-5)
            assert {seen.weight_decay for seen in members.values()} == {decay, 0.0}
        trained = sorted(_fastais(name) for name, seen in step.items() if seen.count)
        assert trained == phase["trainable"]
        assert trained == sorted(
            _fastais(name) for name, seen in step.items() if seen.gradient is not None
        )
    counts = {seen.count for seen in taken[-1].values() if seen.count}
    assert sorted(counts) == phase["adam_step_counts_after"]


def _fastais(name: str) -> str:
    """The name that the weight has in the recorded net."""
    part, _, rest = name.removeprefix("body.").removeprefix("head.").partition(".")
    return f"{ {'low': 'body', 'mid': 'mid', 'out': 'head'}[part] }.{rest}"


# --- the optimiser ----------------------------------------------------------------------------


def test_every_step_is_adamw_with_the_numbers_of_the_spec(bench: Bench) -> None:
    course = bench.run(bench.config(weight_decay=0.3), train=photos(12))

    averages: dict[str, tuple[Any, Any]] = {}
    for step in course.steps:
        for name, seen in step.items():
            assert (seen.square_momentum, seen.eps) == (0.99, 1e-5)
            assert seen.weight_decay == (0.3 if name in DECAYING else 0.0)
            if seen.gradient is None:
                assert torch.equal(seen.before, seen.after)
                continue
            # a fresh optimiser begins with averages of zero
            before = (0.0, 0.0) if seen.count == 1 else averages[name]
            expected, averages[name] = _adamw(seen, *before)
            assert seen.after.double().numpy() == pytest.approx(expected, rel=1e-5, abs=1e-8)


def _adamw(seen: Seen, average: Any, square: Any) -> tuple[Any, tuple[Any, Any]]:  # noqa: ANN401  # float or array
    """Loshchilov & Hutter 2019, algorithm 2, in float64: decay apart, averages freed of bias."""
    assert seen.gradient is not None
    gradient, weights = seen.gradient.double().numpy(), seen.before.double().numpy()
    average = seen.momentum * average + (1 - seen.momentum) * gradient
    square = 0.99 * square + 0.01 * gradient**2
    without_bias = average / (1 - seen.momentum**seen.count)
    root = np.sqrt(square / (1 - 0.99**seen.count))
    decayed = weights * (1 - seen.lr * seen.weight_decay)
    return decayed - seen.lr * without_bias / (root + 1e-5), (average, square)


def test_the_unfrozen_phase_begins_with_a_fresh_optimiser(bench: Bench) -> None:
    course = bench.run(bench.config(freeze_epochs=2, epochs=1), train=photos(12))

    counts = [step["head.out.weight"].count for step in course.steps]
    assert counts == [1, 2, 3, 4, 5, 6, 1, 2, 3]


# --- what stands still, and what moves --------------------------------------------------------


@pytest.mark.parametrize("train_norm_layers", [True, False])
def test_a_frozen_body_keeps_every_bit_whatever_the_decay_but_its_statistics_move(
    bench: Bench, train_norm_layers: bool
) -> None:
    config = bench.config(weight_decay=0.9, train_norm_layers=train_norm_layers)
    listener = RememberingListener({3: Command.SAVE})

    bench.run(config, train=photos(12), listener=listener)

    first, (state,) = bench.net(config.seed).state_dict(), listener.states
    assert (state.phase, state.epochs_done, state.steps_in_epoch) == ("frozen", 0, 3)
    moved = {name for name, tensor in state.model.items() if not torch.equal(tensor, first[name])}
    statistics = {name for name in first if "running" in name or "num_batches" in name}
    assert len(statistics) == 6
    assert moved == HEAD | statistics | (NORMS if train_norm_layers else set())


def test_everything_moves_in_the_unfrozen_phase(bench: Bench) -> None:
    config = bench.config(freeze_epochs=0)

    course = bench.run(config, train=photos(12))

    first = bench.net(config.seed).state_dict()
    still = {name for name, tensor in course.weights.items() if torch.equal(tensor, first[name])}
    assert still == set()
    assert {name for name, seen in course.steps[0].items() if seen.count} == BODY | NORMS | HEAD


# --- batches ----------------------------------------------------------------------------------


def test_every_batch_is_full_and_what_is_left_of_an_epoch_is_dropped(bench: Bench) -> None:
    course = bench.run(bench.config(), train=photos(11))

    # 11 photos are two batches of four, in three epochs
    assert [len(logits) for logits in course.training_logits] == [4] * 6
    assert len(course.steps) == 6


@pytest.mark.parametrize("weights", [None, (1.0, 5.0, 0.5)])
@pytest.mark.parametrize("accumulate", [2, 3])
def test_accumulated_batches_train_as_the_large_batch(
    monkeypatch: pytest.MonkeyPatch, accumulate: int, weights: tuple[float, ...] | None
) -> None:
    # without norm layers no photo knows of the others in its batch
    bench, train = Bench(monkeypatch, norms=False), photos(25)
    small = bench.config(class_weights=weights, accumulate=accumulate, label_smoothing=0.1)
    large = replace(small, accumulate=1, data=data(batch_size=4 * accumulate))

    in_parts, whole = (bench.run(config, train=train) for config in (small, large))

    assert len(in_parts.steps) == len(whole.steps) == 3 * (25 // (4 * accumulate))
    assert {len(logits) for logits in in_parts.training_logits} == {4}
    assert _losses(in_parts) == pytest.approx(_losses(whole), rel=1e-5)
    for name, tensor in whole.weights.items():
        torch.testing.assert_close(in_parts.weights[name], tensor, rtol=0, atol=1e-5)


# --- the loss ---------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (1.0, 5.0, 0.5)])
def test_the_losses_of_training_and_validation_are_torchs(
    bench: Bench, smoothing: float, weights: tuple[float, ...] | None
) -> None:
    config = bench.config(label_smoothing=smoothing, class_weights=weights)
    train, valid = photos(12), photos(7)

    course = bench.run(config, train=train, valid=valid)

    def loss_of(logits: Tensor, labels: list[int]) -> float:
        return cross_entropy(
            logits,
            torch.tensor(labels),
            weight=None if weights is None else torch.tensor(weights),
            label_smoothing=smoothing,
        ).item()

    batches = [
        [train[place].label for place in batch.tolist()]
        for epoch in range(3)
        for batch in shuffled_batches(12, 4, seed=config.seed, epoch=epoch)
    ]
    expected = list(map(loss_of, course.training_logits, batches))
    assert _losses(course) == pytest.approx(expected, rel=1e-6)
    passes = [logits for trains, logits in course.logits if not trains]
    assert [len(logits) for logits in passes] == [4, 3] * 3
    for epoch, report in enumerate(course.listener.epochs):
        logits = torch.cat(passes[2 * epoch : 2 * epoch + 2])
        labels = [photo.label for photo in valid]
        assert report.valid_loss == pytest.approx(loss_of(logits, labels), rel=1e-6)
        right = (logits.argmax(1) == torch.tensor(labels)).float().mean().item()
        assert report.accuracy == pytest.approx(right)
        assert report.train_loss == pytest.approx(np.mean(expected[3 * epoch : 3 * epoch + 3]))


def test_validation_draws_nothing_and_changes_nothing(bench: Bench) -> None:
    with_valid, without = (
        bench.run(bench.config(), train=photos(12), valid=valid) for valid in (photos(7), [])
    )

    assert _losses(with_valid) == _losses(without)
    assert all(
        torch.equal(tensor, without.weights[name]) for name, tensor in with_valid.weights.items()
    )


# --- rates of groups and blocks ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "frozen", "unfrozen"),
    [
        (LowestHighest(1e-6, 1e-4), (1e-5, 1e-5, 1e-4), (1e-6, 1e-5, 1e-4)),
        (PerGroup((1e-5, 5e-5, 1e-3)), (1e-4, 1e-4, 1e-3), (1e-5, 5e-5, 1e-3)),
        (2e-3, (2e-4, 2e-4, 2e-3), (1e-5, 1e-4, 1e-3)),
    ],
)
def test_each_group_peaks_at_the_rate_that_was_asked_for(
    bench: Bench, asked: LearningRate, frozen: tuple[float, ...], unfrozen: tuple[float, ...]
) -> None:
    peaks = resolve_peaks(asked, num_groups=3)
    config = bench.config(
        frozen_peaks=peaks.frozen, unfrozen_peaks=peaks.unfrozen, freeze_epochs=25, pct_start=0.5
    )

    course = bench.run(config, train=photos(16))

    names = ("body.low.0.weight", "body.mid.0.weight", "head.out.weight")
    # 100 frozen steps of which 99 % rise, and 8 unfrozen ones of which half do
    at_peak = [course.steps[99], course.steps[100 + 4]]
    for step, rates in zip(at_peak, (frozen, unfrozen), strict=True):
        assert [step[name].lr for name in names] == pytest.approx(rates)


def test_with_layer_decay_each_block_trains_at_its_own_rate(bench: Bench) -> None:
    rates = (1e-4, 2e-4, 4e-4)
    config = bench.config(rate_per="block", unfrozen_peaks=rates, freeze_epochs=0, pct_start=0.0)

    course = bench.run(config, train=photos(12))

    rate_of = dict(zip(("low", "mid", "out"), rates, strict=True))
    found = {name: seen.lr for name, seen in course.steps[0].items()}
    assert found == {name: rate_of[name.split(".")[1]] for name in BODY | NORMS | HEAD}


# --- when it ends, and what is kept -----------------------------------------------------------


def test_the_kept_model_is_that_of_the_best_epoch_and_its_losses_are_its_own(bench: Bench) -> None:
    # at rates that grow like this the first epochs are the best
    config = bench.config(
        epochs=6, keep_best="valid_loss", unfrozen_peaks=(0.5, 0.5, 0.5), pct_start=1.0
    )
    valid = photos(7)

    course = bench.run(config, train=photos(12), valid=valid)

    losses = [report.valid_loss or 0.0 for report in course.listener.epochs]
    kept = course.outcome.kept_epoch
    assert kept == int(np.argmin(losses)) < 6
    again = RememberingListener({3 * (kept + 1): Command.SAVE})
    bench.run(config, train=photos(12), valid=valid, listener=again)
    at_kept = again.states[0].model
    assert all(torch.equal(course.weights[name], tensor) for name, tensor in at_kept.items())


def test_patience_counts_unfrozen_epochs_only(bench: Bench) -> None:
    config = bench.config(
        freeze_epochs=4, epochs=5, early_stopping=EarlyStopping(patience=1, min_delta=100.0)
    )

    course = bench.run(config, train=photos(12), valid=photos(7))

    phases = [report.phase for report in course.listener.epochs]
    assert phases == ["frozen"] * 4 + ["unfrozen"] * 2
    assert course.outcome.stop_reason == "early_stopping"


def test_a_run_out_of_time_takes_no_further_step(bench: Bench) -> None:
    course = bench.run(bench.config(max_duration_s=1e-9), train=photos(12), valid=photos(7))

    assert len(course.steps) == 1
    assert course.outcome.stop_reason == "max_duration"
    assert [report.epoch for report in course.listener.epochs] == [0]


def _losses(course: Course) -> list[float]:
    return [report.loss for report in course.listener.steps]
