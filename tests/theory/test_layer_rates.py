"""Discriminative rates, against fastai's and timm's numbers and by hand."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.errors import InvalidInputError
from ml.theory.layer_rates import (
    Discriminative,
    LayerDecay,
    LearningRate,
    LowestHighest,
    LrMult,
    PerGroup,
    as_listed,
    constant,
    fine_tune_peaks,
    geometric,
    layer_decay_scales,
    resolve_peaks,
    tenth_below,
)
from tests.golden.figures import Case, cases

SPREADS = ("spread_scalar", "spread_slice_lo_hi", "spread_slice_hi", "spread_list")


def _spread(value: float | list[float] | Case, groups: int) -> tuple[float, ...]:
    if isinstance(value, list):
        return as_listed(value, groups)
    if isinstance(value, dict):
        low, high = value["slice"]
        return geometric(low, high, groups) if low else tenth_below(high, groups)
    return constant(value, groups)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("discriminative", *SPREADS))
def test_a_rate_is_spread_over_groups_as_fastai_does(case: Case) -> None:
    assert _spread(case["value"], case["groups"]) == pytest.approx(case["lrs"], rel=1e-9, abs=0)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("discriminative", "timm_layer_decay"))
def test_layer_decay_gives_timms_scales(case: Case) -> None:
    scales = sorted({group["lr_scale"] for group in case["groups"]})
    floored = case["args"].get("min_scale") in scales or case["args"]["layer_decay"] == 1.0
    blocks = len(case["groups"]) if floored else len(scales)

    found = sorted(set(layer_decay_scales(blocks, **case["args"])))

    assert found == pytest.approx(scales, rel=1e-9, abs=0)


def test_fine_tune_halves_the_base_rate_and_divides_it_for_the_first_group() -> None:
    peaks = fine_tune_peaks(2e-3, 100, 3)

    assert peaks.frozen == pytest.approx((2e-4, 2e-4, 2e-3))
    assert peaks.unfrozen == pytest.approx((1e-5, 1e-4, 1e-3))


def test_lowest_and_highest_are_the_unfrozen_peaks_as_given() -> None:
    peaks = resolve_peaks(LowestHighest(1e-6, 1e-4), num_groups=3)

    assert peaks.unfrozen == pytest.approx((1e-6, 1e-5, 1e-4))
    assert peaks.frozen == pytest.approx((1e-5, 1e-5, 1e-4))


def test_rates_per_group_are_kept_and_the_frozen_head_takes_the_highest() -> None:
    peaks = resolve_peaks(PerGroup((1e-3, 2e-3, 1e-3)), num_groups=3)

    assert peaks.unfrozen == (1e-3, 2e-3, 1e-3)
    assert peaks.frozen == pytest.approx((2e-4, 2e-4, 2e-3))


def test_off_is_one_rate_for_all() -> None:
    peaks = resolve_peaks(1e-3, num_groups=2, discriminative="off")

    assert (peaks.frozen, peaks.unfrozen) == ((1e-3, 1e-3), (5e-4, 5e-4))


def test_layer_decay_multiplies_from_the_head_down() -> None:
    peaks = resolve_peaks(4.0, num_groups=3, discriminative=LayerDecay(0.5))

    assert (peaks.frozen, peaks.unfrozen) == ((1.0, 2.0, 4.0), (0.5, 1.0, 2.0))


def test_a_floor_keeps_the_first_blocks_moving() -> None:
    assert layer_decay_scales(3, 0.1, min_scale=0.05) == pytest.approx((0.05, 0.1, 1.0))


@given(base=st.floats(1e-6, 1.0), lr_mult=st.floats(1.0, 1e4), groups=st.integers(2, 30))
def test_rates_rise_from_the_first_group_to_the_head(
    base: float, lr_mult: float, groups: int
) -> None:
    rates = resolve_peaks(base, num_groups=groups, discriminative=LrMult(lr_mult)).unfrozen

    assert rates[-1] == pytest.approx(base / 2)
    assert rates[-1] / rates[0] == pytest.approx(lr_mult)
    assert all(low <= high * (1 + 1e-9) for low, high in pairwise(rates))


@pytest.mark.parametrize(
    ("asked", "discriminative", "field", "message"),
    [
        (LowestHighest(1e-6, 1e-4), LrMult(), "discriminative", "already spread"),
        (PerGroup((1e-3, 1e-3)), None, "learning_rate", "2 rates for 3 layer groups"),
        (0.0, None, "learning_rate", "the rate 0.0"),
        (1e-3, LrMult(0.0), "discriminative", "lr_mult is 0.0"),
        (1e-3, LayerDecay(1.5), "discriminative", "layer_decay is 1.5"),
    ],
)
def test_a_spread_that_makes_no_sense_is_refused(
    asked: LearningRate, discriminative: Discriminative | None, field: str, message: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        resolve_peaks(asked, num_groups=3, discriminative=discriminative)

    assert refused.value.field == field
    assert message in str(refused.value)


@given(low=st.floats(1e-8, 1.0), high=st.floats(1e-8, 1.0), groups=st.integers(2, 12))
def test_rates_between_two_ends_have_equal_ratios(low: float, high: float, groups: int) -> None:
    rates = geometric(low, high, groups)

    assert (rates[0], rates[-1]) == pytest.approx((low, high), rel=1e-9, abs=0)
    ratios = [after / before for before, after in pairwise(rates)]
    assert ratios == pytest.approx([(high / low) ** (1 / (groups - 1))] * (groups - 1))


def test_a_single_group_has_the_highest_rate_however_asked() -> None:
    assert geometric(1e-5, 1e-3, 1) == tenth_below(1e-3, 1) == as_listed([1e-3], 1) == (1e-3,)
    assert resolve_peaks(2e-3, num_groups=1).unfrozen == (1e-3,)


def test_a_decay_of_1_leaves_every_block_the_whole_rate() -> None:
    assert layer_decay_scales(4, 1.0) == (1.0, 1.0, 1.0, 1.0)
    assert layer_decay_scales(1, 0.5) == (1.0,)


def test_a_listed_rate_serves_all_groups_and_others_must_be_as_many() -> None:
    assert as_listed([1e-3], 4) == (1e-3,) * 4
    with pytest.raises(InvalidInputError, match="2 rates for 3 layer groups"):
        as_listed([1e-3, 1e-2], 3)


def test_there_is_at_least_one_group() -> None:
    with pytest.raises(InvalidInputError, match="0 layer groups"):
        constant(1e-3, 0)
