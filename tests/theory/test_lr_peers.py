"""What the other finders would say: their numbers, and laws by hand."""

from dataclasses import asdict
from json import dumps
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ml.theory import lr_peers
from ml.theory.errors import InvalidInputError
from ml.theory.schedules import exponential_sweep
from tests.golden.figures import Case, cases

LRS = exponential_sweep(1e-7, 10, 100)
FALLING = [3.0 - step / 50 for step in range(100)]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_schedule", "sched_torch_lr_finder"))
def test_the_sweep_of_torch_lr_finder_reaches_its_end(case: Case) -> None:
    found = lr_peers.torch_lr_finder_sweep(case["start"], case["end"], case["n"])

    assert found == pytest.approx(case["lrs"], rel=1e-9, abs=0)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_schedule", "sched_lightning"))
def test_the_sweep_of_lightning_has_a_wide_first_step(case: Case) -> None:
    found = lr_peers.lightning_sweep(case["start"], case["end"], case["n"])

    assert found == pytest.approx(case["lrs"], rel=1e-9, abs=0)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_suggestions"))
def test_torch_lr_finder_takes_its_own_rate(case: Case) -> None:
    found = lr_peers.compare(case["recorded_lrs"], case["recorded_losses"]).torch_lr_finder
    expected = case["expected"]["torch_lr_finder"]

    assert expected["skip_start"] == lr_peers.SKIPPED_AT_START
    assert expected["skip_end"] == lr_peers.SKIPPED_AT_END["torch_lr_finder"]
    assert (found is None) == (expected.get("error") == "RuntimeError")
    if found is not None and "torch_lr_finder" not in case["tie_or_rounding_sensitive"]:
        assert found.lr == pytest.approx(expected["suggestion"], rel=1e-9, abs=0)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_suggestions"))
def test_lightning_takes_its_own_rate(case: Case) -> None:
    found = lr_peers.compare(case["recorded_lrs"], case["recorded_losses"]).lightning
    expected = case["expected"]["lightning"]

    assert expected["skip_begin"] == lr_peers.SKIPPED_AT_START
    assert expected["skip_end"] == lr_peers.SKIPPED_AT_END["lightning"]
    assert (found is None) == (expected["suggestion"] is None) == (expected["index"] is None)
    if found is not None and "lightning" not in case["tie_or_rounding_sensitive"]:
        assert found.step == expected["index"]
        assert found.lr == pytest.approx(expected["suggestion"], rel=1e-9, abs=0)


def test_both_sweeps_reach_their_end_and_ours_does_not() -> None:
    assert lr_peers.torch_lr_finder_sweep(1e-4, 1.0, 5) == pytest.approx((1e-4, 1e-3, 0.01, 0.1, 1))
    assert lr_peers.lightning_sweep(1e-4, 1.0, 4) == pytest.approx((1e-4, 1e-2, 0.1, 1))
    assert exponential_sweep(1e-4, 1.0, 4) == pytest.approx((1e-4, 1e-3, 1e-2, 0.1))


def test_a_sweep_of_one_step_is_its_start_or_refused() -> None:
    assert lr_peers.lightning_sweep(1e-4, 1.0, 1) == (1e-4,)
    with pytest.raises(InvalidInputError, match="num_steps is 1; use at least 2"):
        lr_peers.torch_lr_finder_sweep(1e-4, 1.0, 1)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [((0.0, 1.0, 5), "start_lr"), ((1.0, nan, 5), "end_lr"), ((1.0, 2.0, 0), "num_steps")],
)
def test_a_sweep_without_rates_or_steps_is_refused(arguments: tuple[Any, ...], field: str) -> None:
    for sweep in (lr_peers.torch_lr_finder_sweep, lr_peers.lightning_sweep):
        with pytest.raises(InvalidInputError) as refused:
            sweep(*arguments)

        assert refused.value.field == field


def test_torch_lr_finder_averages_from_the_first_loss() -> None:
    assert lr_peers.torch_lr_finder_smooth([2.0, 4.0, 2.0]) == pytest.approx((2.0, 2.1, 2.095))
    assert lr_peers.torch_lr_finder_smooth([]) == ()


def test_a_constant_loss_seems_to_rise_in_lightning() -> None:
    assert lr_peers.lightning_smooth([2.0] * 3) == pytest.approx((1.0101, 1.3468, 1.5150), abs=5e-5)
    assert lr_peers.lightning_smooth([2.0] * 1000)[-1] == pytest.approx(2.0)


def test_torch_lr_finder_stops_above_five_times_its_best() -> None:
    assert lr_peers.torch_lr_finder_stop([1.0, 5.0, 0.5, 2.6, 9.0]) == 3
    assert lr_peers.torch_lr_finder_stop([1.0, 5.0]) is None
    assert lr_peers.torch_lr_finder_stop([-1.0]) == 0
    assert lr_peers.torch_lr_finder_stop([nan, 1.0, inf]) is None


def test_lightning_stops_above_four_times_its_best_but_never_at_once() -> None:
    assert lr_peers.lightning_stop([1.0, 4.0, 4.1, 9.0]) == 2
    assert lr_peers.lightning_stop([-1.0, -1.0]) == 1
    assert lr_peers.lightning_stop([5.0]) is None
    assert lr_peers.lightning_stop([nan, 1.0, 9.0]) is None


def test_the_same_fall_is_steeper_for_lightning_where_the_rate_is_lower() -> None:
    two_falls = [3.0] * 100
    two_falls[20:] = [2.9] * 80
    two_falls[70:] = [1.9] * 30

    found = lr_peers.compare(LRS, two_falls)

    assert found.torch_lr_finder is not None
    assert found.lightning is not None
    assert (found.torch_lr_finder.step, found.lightning.step) == (69, 20)
    assert found.lightning.lr == pytest.approx(LRS[20])


def test_a_nan_is_the_steepest_fall_for_torch_lr_finder_and_nothing_for_lightning() -> None:
    broken = [*FALLING[:60], *[nan] * 40]

    found = lr_peers.compare(LRS, broken)

    assert found.torch_lr_finder is not None
    assert found.torch_lr_finder.step == 59
    assert [warning.code for warning in found.warnings] == ["torch_lr_finder_at_nan"]
    assert found.lightning is not None
    assert found.lightning.step == 10


@pytest.mark.parametrize(
    ("losses", "reasons"),
    [
        (FALLING[:17], [None, None]),
        (FALLING[:16], ["too_few_points", None]),
        (FALLING[:12], ["too_few_points", "too_few_points"]),
        ([], ["too_few_points", "too_few_points"]),
        ([nan] * 30, [None, "no_finite_loss"]),
        ([inf] * 30, [None, "no_finite_loss"]),
    ],
)
def test_a_peer_without_an_answer_says_why(losses: list[float], reasons: list[str | None]) -> None:
    found = lr_peers.compare(LRS[: len(losses)], losses)

    told = {warning.rule: warning.reason for warning in found.warnings}
    assert [told.get("torch_lr_finder"), told.get("lightning")] == reasons
    assert (found.torch_lr_finder is None, found.lightning is None) == (
        reasons[0] is not None,
        reasons[1] is not None,
    )


def test_rates_and_losses_of_different_lengths_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="2 rates, 1 losses"):
        lr_peers.compare([0.1, 0.2], [1.0])


@settings(max_examples=50)
@given(losses=st.lists(st.floats(), max_size=100))
def test_no_curve_whatever_raises_and_every_answer_is_strict_json(losses: list[float]) -> None:
    found = asdict(lr_peers.compare(LRS[: len(losses)], losses))

    dumps(found, allow_nan=False)


@settings(max_examples=100)
@given(losses=st.lists(st.integers(0, 99).map(float) | st.just(nan), min_size=13, max_size=60))
def test_lightnings_slopes_are_those_of_torch(losses: list[float]) -> None:
    rates = LRS[: len(losses)]
    finite = [step for step in range(10, len(losses) - 1) if losses[step] == losses[step]]
    assume(len(finite) >= 2)

    x = torch.tensor([rates[step] for step in finite])
    y = torch.tensor([losses[step] for step in finite])
    slopes = torch.gradient(y, spacing=(x,))[0]

    found = slopes[finite.index(lr_peers.lightning(rates, losses))].item()
    # in float32 two slopes that are as good as equal may change places
    assert found == pytest.approx(slopes.min().item(), rel=1e-4)


@settings(max_examples=30)
@given(losses=st.lists(st.floats(-1e3, 1e3), min_size=17, max_size=60))
def test_torch_lr_finder_is_blind_to_the_rates(losses: list[float]) -> None:
    rates = np.linspace(1, 2, len(losses)).tolist()

    assert lr_peers.torch_lr_finder(rates, losses) == lr_peers.torch_lr_finder(
        LRS[: len(losses)], losses
    )
