"""Which sweeps a find consists of, and what they say together, by hand and for all numbers."""

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.errors import InvalidInputError
from ml.theory.lr_recommendation import DOUBTS, Recommendation
from ml.theory.lr_sweeps import PlannedSweep, combine, planned_sweeps

DEFAULT = Recommendation(2e-3, "default", (1e-3, 4e-3), "low", ("default", "flat"))

RATES = st.floats(min_value=1e-6, max_value=1.0)
MEASURED = st.builds(
    lambda lr, doubts: sweep(lr, *doubts), RATES, st.sets(st.sampled_from(DOUBTS)).map(sorted)
)
FOUND = st.lists(MEASURED | st.just(DEFAULT) | st.none(), min_size=1, max_size=10)


def sweep(lr: float, *doubts: str) -> Recommendation:
    """What one sweep recommends."""
    agreed = () if "rules_disagree" in doubts else ("rules_agree",)
    return Recommendation(
        lr, "consensus", (lr / 2, lr * 2), "low" if doubts else "medium", (*agreed, *doubts)
    )


def together(*found: Recommendation | None) -> Recommendation:
    """The combined recommendation, which there is."""
    recommended = combine(found).recommended
    assert recommended is not None
    return recommended


def test_every_repeat_has_the_next_seed() -> None:
    planned = planned_sweeps("frozen_body", seed=42, repeats=3, layer_groups=3)

    assert planned == (
        PlannedSweep(0, 42, None),
        PlannedSweep(1, 43, None),
        PlannedSweep(2, 44, None),
    )


def test_each_group_is_swept_alone_from_the_head_down() -> None:
    planned = planned_sweeps("each", seed=7, repeats=2, layer_groups=3)

    turns = [(one.number, one.seed, one.group) for one in planned]
    assert turns == [(0, 7, 2), (1, 7, 1), (2, 7, 0), (3, 8, 2), (4, 8, 1), (5, 8, 0)]


def test_groups_that_stand_still_have_no_rate() -> None:
    assert PlannedSweep(0, 42, 1).rates(0.5, 3) == (0.0, 0.5, 0.0)
    assert PlannedSweep(0, 42, None).rates(0.5, 3) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("repeats", "groups"), [(0, 3), (1, 0)])
def test_there_is_no_find_without_a_sweep(repeats: int, groups: int) -> None:
    with pytest.raises(InvalidInputError):
        planned_sweeps("each", seed=0, repeats=repeats, layer_groups=groups)


def test_three_sweeps_recommend_the_one_in_the_middle() -> None:
    found = together(sweep(1.5e-3), sweep(2e-3), sweep(1e-3))

    assert found.lr == pytest.approx(1.5e-3)
    assert found.range == pytest.approx((7.5e-4, 3e-3))
    assert found.confidence == "medium"
    assert found.reasons == ("rules_agree", "repeats_agree")


def test_two_sweeps_recommend_their_geometric_mean() -> None:
    found = combine([sweep(1e-3), sweep(2e-3)])

    assert found.recommended is not None
    assert found.recommended.lr == pytest.approx(sqrt(2) * 1e-3)
    assert found.spread == 2.0


def test_a_sweep_far_away_widens_the_range_and_is_told() -> None:
    found = together(sweep(1e-3), sweep(1e-3), sweep(5e-3))

    assert found.lr == pytest.approx(1e-3)
    assert found.range == pytest.approx((5e-4, 5e-3))
    assert found.confidence == "low"
    assert found.reasons == ("rules_agree", "repeats_disagree")


def test_a_sweep_without_an_answer_is_left_out_and_told() -> None:
    found = combine([None, sweep(1e-3), DEFAULT, sweep(1e-3)])

    assert found.recommended is not None
    assert found.recommended.lr == pytest.approx(1e-3)
    assert found.recommended.reasons == ("rules_agree", "repeats_agree", "few_repeats")
    assert found.spread == 1.0


def test_a_single_answer_of_several_sweeps_agrees_with_nothing() -> None:
    assert together(sweep(1e-3), None).reasons == ("rules_agree", "few_repeats")


def test_a_doubt_is_kept_when_half_of_the_sweeps_have_it() -> None:
    doubtful, clear = sweep(1e-3, "rules_disagree", "clipped"), sweep(1e-3)

    assert together(doubtful, clear).reasons == ("repeats_agree", "rules_disagree", "clipped")
    assert together(doubtful, clear, clear).reasons == ("rules_agree", "repeats_agree")


def test_without_a_measured_rate_the_first_default_stands_in() -> None:
    flat, short = DEFAULT, replace(DEFAULT, reasons=("default", "too_few_points"))

    assert combine([None, short, flat]).recommended == short
    assert combine([None, short, flat]).spread is None
    assert combine([None, None]).recommended is None


@given(MEASURED | st.just(DEFAULT) | st.none())
def test_one_sweep_is_taken_as_it_is(found: Recommendation | None) -> None:
    assert combine([found]).recommended == found


@given(FOUND)
def test_every_measured_rate_lies_in_the_range(found: Sequence[Recommendation | None]) -> None:
    combined = combine(found)
    rates = [one.lr for one in found if one is not None and one.rule == "consensus"]

    assert (combined.spread is None) == (not rates)
    if rates and combined.recommended is not None:
        low, high = combined.recommended.range
        assert low <= min(rates) <= combined.recommended.lr <= max(rates) <= high
        assert combined.spread == max(rates) / min(rates)


@given(FOUND)
def test_confidence_is_medium_just_when_nothing_is_doubted(
    found: Sequence[Recommendation | None],
) -> None:
    recommended = combine(found).recommended

    if recommended is not None:
        is_clear = set(recommended.reasons) <= {"rules_agree", "repeats_agree"}
        assert (recommended.confidence == "medium") == is_clear


@given(st.lists(MEASURED | st.none(), min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_the_sweeps_is_nothing(
    found: list[Recommendation | None], shuffler: Random
) -> None:
    assert combine(shuffler.sample(found, len(found))) == combine(found)


@given(st.lists(RATES, min_size=1, max_size=10), st.integers(-10, 10))
def test_rates_all_doubled_double_the_answer(rates: list[float], times: int) -> None:
    factor = 2.0**times
    one, other = (together(*(sweep(rate * by) for rate in rates)).lr for by in (1.0, factor))

    assert other == pytest.approx(one * factor)
