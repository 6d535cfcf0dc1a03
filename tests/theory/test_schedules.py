"""Sweeps, smoothing, the stop rule and one cycle, against fastai's numbers and by hand."""

from math import cos, inf, isnan, nan, pi
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.errors import InvalidInputError
from ml.theory.layer_rates import (
    LrMult,
    as_listed,
    constant,
    geometric,
    resolve_peaks,
    tenth_below,
)
from ml.theory.schedules import (
    DivergenceStop,
    FineTunePlan,
    LossSmoother,
    OneCycle,
    Phase,
    exponential_sweep,
    fine_tune_phases,
    one_cycle,
    smooth,
)
from tests.golden.figures import Case, cases


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_schedule", "sched_exp"))
def test_the_sweep_is_fastais(case: Case) -> None:
    found = exponential_sweep(case["start"], case["end"], case["n"])

    assert found == pytest.approx(case["lrs"], rel=1e-9, abs=0)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_schedule", "smooth_0.98", "smooth_0.9"))
def test_the_running_average_is_fastais(case: Case) -> None:
    assert smooth(case["raw"], case["beta"]) == pytest.approx(case["smoothed"], rel=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_schedule", "scripted_lr_find"))
def test_a_scripted_range_test_records_what_fastai_records(case: Case) -> None:
    args, raw = case["args"], case["raw"]
    steps = max(args["num_it"], 6)
    smoother, recorded = LossSmoother(), list[float]()
    stop = DivergenceStop() if args["stop_div"] else DivergenceStop(inf)

    for step in range(steps):
        recorded.append(smoother.update(raw[min(step, len(raw) - 1)]))
        if stop.update(recorded[-1]):
            break

    assert len(recorded) == case["n_recorded"]
    assert recorded == pytest.approx(case["recorded_losses"], rel=1e-5, nan_ok=True)
    sweep = exponential_sweep(args["start_lr"], args["end_lr"], steps)
    assert sweep[: len(recorded)] == pytest.approx(case["recorded_lrs"], rel=1e-9, abs=0)


def _peaks(case: Case) -> tuple[float, ...]:
    asked = case["lr_max"]
    groups: int = case["groups"]
    if isinstance(asked, dict):
        low, high = asked["slice"]
        return geometric(low, high, groups) if low else tenth_below(high, groups)
    if isinstance(asked, list):
        return as_listed(asked, groups)
    return constant(asked or case["learner_args"].get("lr", 1e-3), groups)


def _shape(case: Case) -> dict[str, Any]:
    """The arguments that shape a cycle; the others say what is trained and from which rates."""
    ours = {"pct_start": "pct_start", "div": "div", "div_final": "div_final", "moms": "momenta"}
    return {ours[key]: value for key, value in case["args"].items() if key in ours}


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("one_cycle", "fit_one_cycle"))
def test_one_cycle_is_fastais_at_every_step(case: Case) -> None:
    (phase,) = case["phases"]

    cycle = one_cycle(case["epochs"] * case["batches_per_epoch"], _peaks(case), **_shape(case))

    assert (phase["n_epoch"], phase["n_iter"]) == (case["epochs"], case["batches_per_epoch"])
    _assert_same(cycle, phase)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("one_cycle", "fine_tune"))
def test_both_phases_of_a_fine_tune_are_fastais(case: Case) -> None:
    args = case["args"]
    peaks = resolve_peaks(
        args.get("base_lr", 2e-3),
        num_groups=case["groups"],
        discriminative=LrMult(args.get("lr_mult", 100)),
    )
    plan = FineTunePlan(
        epochs=case["epochs"],
        freeze_epochs=args.get("freeze_epochs", 1),
        steps_per_epoch=case["batches_per_epoch"],
        frozen_peaks=peaks.frozen,
        unfrozen_peaks=peaks.unfrozen,
        **_shape(case),
    )

    phases = fine_tune_phases(plan)

    assert [phase.name for phase in phases] == ["frozen", "unfrozen"]
    for found, expected in zip(phases, case["phases"], strict=True):
        assert found.epochs == expected["n_epoch"]
        assert expected["n_iter"] == case["batches_per_epoch"]
        _assert_same(found, expected)


def _assert_same(cycle: OneCycle | Phase, expected: Case) -> None:
    lr, momentum = cycle.lr, cycle.momentum
    assert len(lr) == len(expected["lr"])
    for found, rates in zip(lr, expected["lr"], strict=True):
        assert found == pytest.approx(rates, rel=5e-5, abs=1e-9)
    for each, groups in zip(momentum, expected["mom"], strict=True):
        assert [each] * len(lr[0]) == pytest.approx(groups, rel=5e-5)
    places = [step / len(lr) for step in range(len(lr))]
    assert places == pytest.approx(expected["pos"], rel=5e-5, abs=1e-9)


def test_the_sweep_starts_at_its_start_and_never_reaches_its_end() -> None:
    assert exponential_sweep(1e-7, 10, 4) == pytest.approx((1e-7, 1e-5, 1e-3, 1e-1))


def test_the_average_of_the_first_loss_is_that_loss() -> None:
    assert LossSmoother().update(3.0) == pytest.approx(3.0)


def test_the_second_average_leans_to_the_second_loss_by_its_weight() -> None:
    assert smooth([1.0, 2.0], beta=0.5) == pytest.approx((1.0, (0.25 * 1 + 0.5 * 2) / 0.75))


def test_a_run_stops_above_four_times_its_best_and_never_for_nan() -> None:
    stop = DivergenceStop()

    assert [stop.update(loss) for loss in (1.0, 4.0, nan, 4.1)] == [False, False, False, True]


def test_one_cycle_starts_low_peaks_where_asked_and_comes_down() -> None:
    cycle = one_cycle(4, [1.0], pct_start=0.5, div=10, div_final=10)

    assert [lr for (lr,) in cycle.lr] == pytest.approx([0.1, 0.55, 1.0, 0.55])
    assert cycle.momentum == pytest.approx((0.95, 0.9, 0.85, 0.9))


def test_a_phase_of_no_epochs_has_no_steps() -> None:
    plan = FineTunePlan(1, 0, 5, frozen_peaks=(1.0,), unfrozen_peaks=(1.0,))

    frozen, unfrozen = fine_tune_phases(plan)

    assert (frozen.lr, frozen.momentum) == ((), ())
    assert len(unfrozen.lr) == 5


@given(
    steps=st.integers(1, 60),
    pct_start=st.floats(0, 1),
    div=st.floats(1, 100),
    div_final=st.floats(1, 1e6),
)
def test_every_step_is_on_one_of_two_half_cosines(
    steps: int, pct_start: float, div: float, div_final: float
) -> None:
    cycle = one_cycle(steps, [3.0], pct_start=pct_start, div=div, div_final=div_final)

    for step, (lr,) in enumerate(cycle.lr):
        place = step / steps
        if place < pct_start:
            start, end, done = 3 / div, 3.0, place / pct_start
        else:
            start, end, done = 3.0, 3 / div_final, (place - pct_start) / (1 - pct_start)
        assert lr == pytest.approx(start + (end - start) * (1 - cos(pi * done)) / 2)


def test_a_cycle_that_only_warms_up_never_comes_down_and_one_that_does_not_starts_at_its_peak() -> (
    None
):
    rising = one_cycle(4, [1.0], pct_start=1.0)
    falling = one_cycle(4, [1.0], pct_start=0.0)

    assert [lr for (lr,) in rising.lr] == sorted(lr for (lr,) in rising.lr)
    assert falling.lr[0] == (1.0,)
    assert falling.momentum[0] == 0.85


def test_momenta_and_the_last_divisor_shape_both_phases_of_a_fine_tune() -> None:
    plan = FineTunePlan(
        2, 2, 1, (1.0,), (1.0,), pct_start=0.0, div_final=1.0, momenta=(0.9, 0.8, 0.7)
    )

    frozen, unfrozen = fine_tune_phases(plan)

    assert unfrozen.lr == ((1.0,), (1.0,))
    assert unfrozen.momentum == pytest.approx((0.8, 0.75))
    assert frozen.momentum[0] == 0.9


@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_a_sweep_of_few_steps_still_starts_at_its_start(num_steps: int) -> None:
    sweep = exponential_sweep(1e-6, 1.0, num_steps)

    assert (len(sweep), sweep[0]) == (num_steps, 1e-6)
    assert sweep[-1] < 1.0


def test_a_constant_loss_is_its_own_average_whatever_the_weight() -> None:
    for beta in (0.0, 0.5, 0.98, 0.9999):
        assert smooth([0.7] * 20, beta) == pytest.approx([0.7] * 20)
    assert smooth([]) == ()


def test_infinity_and_nan_stay_in_the_average() -> None:
    assert smooth([1.0, inf, 1.0])[1:] == (inf, inf)
    assert all(map(isnan, smooth([nan, 1.0, 1.0])))


def test_a_run_with_a_loss_below_zero_stops_at_once_as_in_fastai() -> None:
    assert DivergenceStop().update(-1.0)
    assert not DivergenceStop().update(0.0)


@given(
    steps=st.integers(1, 50),
    pct_start=st.floats(0, 1),
    div=st.floats(1, 100),
)
def test_no_rate_leaves_the_range_between_its_ends(
    steps: int, pct_start: float, div: float
) -> None:
    cycle = one_cycle(steps, [1.0], pct_start=pct_start, div=div)

    assert all(1e-5 * (1 - 1e-9) <= lr <= 1 + 1e-9 for (lr,) in cycle.lr)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [((0.0, 1.0, 5), "start_lr"), ((1.0, inf, 5), "end_lr"), ((1.0, 2.0, 0), "num_steps")],
)
def test_a_sweep_without_rates_or_steps_is_refused(arguments: tuple[Any, ...], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        exponential_sweep(*arguments)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"pct_start": 1.5}, "pct_start"),
        ({"div": 0.0}, "div"),
        ({"div_final": 0.0}, "div_final"),
    ],
)
def test_a_cycle_out_of_shape_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        one_cycle(5, [1.0], **options)

    assert refused.value.field == field


def test_a_plan_with_a_negative_count_or_an_infinite_rate_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="epochs is -1"):
        FineTunePlan(-1, 0, 5, frozen_peaks=(1.0,), unfrozen_peaks=(1.0,))
    with pytest.raises(InvalidInputError, match="a peak rate is inf"):
        FineTunePlan(1, 0, 5, frozen_peaks=(1.0,), unfrozen_peaks=(inf,))
