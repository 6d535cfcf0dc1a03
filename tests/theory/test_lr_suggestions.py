"""What a range test says: fastai's rules to the number, ours by hand."""

from dataclasses import asdict
from json import dumps
from math import nan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.theory import lr_rules
from ml.theory.errors import InvalidInputError
from ml.theory.lr_curve import RecordedCurve
from ml.theory.lr_suggestions import LrAnalysis, analyse
from ml.theory.schedules import exponential_sweep
from ml.theory.zero_lag import zero_lag
from tests.golden.figures import Case, cases

LRS = exponential_sweep(1e-7, 10, 100)
PAGE = Path(__file__).parents[2] / "docs" / "learning-rate-finder.md"
OURS = {
    "minimum": "minimum_over_10",
    "steep": "steepest",
    "valley": "valley",
    "slide": "slide",
}


def _curve(low: int, *, depth: float = 1.0, noise: float = 0.0) -> list[float]:
    """A loss of 2 that falls by ``depth`` over the 20 steps up to ``low`` and rises after it."""
    rng = np.random.default_rng(0)
    steps = np.arange(100)
    fall = np.clip((steps - (low - 20)) / 20, 0, 1) * depth
    rise = np.clip(steps - low, 0, None) * 0.1
    return list(2 - fall + rise + noise * rng.standard_normal(100))


def _rate(analysis: LrAnalysis, rule: str) -> float:
    suggestion = analysis.suggestions[rule]
    assert suggestion is not None
    return suggestion.lr


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_suggestions"))
def test_fastais_rules_give_fastais_numbers(case: Case) -> None:
    found = analyse(case["recorded_lrs"], case["recorded_losses"], num_steps=case["num_it"])

    for rule, expected in case["expected"]["fastai"].items():
        if f"fastai.{rule}" not in case["tie_or_rounding_sensitive"]:
            suggestion = found.suggestions[OURS[rule]]
            assert (suggestion is None) == ("error" in expected)
            if suggestion is not None and suggestion.marker is not None:
                assert suggestion.lr == pytest.approx(expected["suggestion"], rel=1e-5)
                assert suggestion.marker.lr == pytest.approx(expected["point_lr"], rel=1e-5)
                assert suggestion.marker.loss == pytest.approx(expected["point_loss"], rel=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_suggestions"))
def test_the_table_in_the_documentation_has_the_rates_of_every_recorded_curve(case: Case) -> None:
    header, row = (
        [cell.strip(" `*") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith(("| curve |", f"| `{case['id']}` |"))
    )
    found = analyse(case["recorded_lrs"], case["recorded_losses"], num_steps=case["num_it"])
    answers = {**found.suggestions, "recommended": found.recommended}

    for rule, cell in zip(header[1:], row[1:], strict=True):
        answer = answers[rule]
        shown = None if answer is None else float(f"{answer.lr:.1e}")
        assert shown == (None if cell == "–" else float(cell.split()[0]))


def test_the_first_tenth_and_the_last_five_points_are_not_read() -> None:
    assert lr_rules.usable([1.0] * 100, num_steps=100, trim="fastai") == range(10, 95)


def test_nothing_after_the_first_nan_is_read() -> None:
    assert lr_rules.usable([1.0, 1.0, nan, 1.0], num_steps=4, trim="none") == range(2)


def test_the_minimum_over_ten_is_a_tenth_of_the_rate_of_the_lowest_loss() -> None:
    found = analyse(LRS, _curve(60)).suggestions["minimum_over_10"]

    assert found is not None
    assert found.step == 60
    assert found.lr == pytest.approx(LRS[60] / 10)
    assert asdict(found)["marker"] == {"lr": LRS[60], "loss": pytest.approx(1.0)}


def test_the_valley_of_a_straight_fall_is_half_way_down() -> None:
    falling = [2.0] * 10 + [2.0 - 0.01 * step for step in range(60)] + [9.0] * 30

    assert lr_rules.valley(falling) == 9 + 20 + 10


def test_the_zero_lag_curve_keeps_a_constant_loss_to_both_ends() -> None:
    assert zero_lag([3.0] * 30) == pytest.approx([3.0] * 30)


def test_the_zero_lag_curve_has_its_minimum_where_the_loss_has_it() -> None:
    steps = np.arange(100.0)

    assert int(np.argmin(zero_lag((steps - 70) ** 2))) == 70


def test_an_explosion_at_the_end_does_not_reach_back_into_the_minimum() -> None:
    calm = _curve(60)
    exploding = [*calm[:63], *[1e6] * 37]

    found = analyse(LRS, exploding, trim="none").suggestions["minimum_over_10_zero_lag"]

    assert found is not None
    assert found.step is not None
    assert abs(found.step - 58) <= 2


def test_the_clear_descent_ends_where_nine_tenths_of_the_fall_have_happened() -> None:
    found = analyse(LRS, _curve(60)).suggestions["last_clear_descent"]

    assert found is not None
    assert found.marker is not None
    assert found.step is not None
    assert abs(found.step - 57) <= 1
    assert found.lr == pytest.approx(found.marker.lr / 3)


def test_the_recommendation_is_the_median_in_log_rate() -> None:
    found = analyse(LRS, _curve(60))

    voters = ["valley", "minimum_over_10_zero_lag", "last_clear_descent"]
    middle = sorted(_rate(found, rule) for rule in voters)[1]
    assert found.recommended is not None
    assert found.recommended.lr == pytest.approx(middle)
    assert found.recommended.range == pytest.approx((middle / 2, middle * 2))
    assert (found.recommended.rule, found.recommended.confidence) == ("consensus", "medium")
    assert found.recommended.reasons == ("rules_agree",)


def test_a_recommendation_stays_within_bounds() -> None:
    early, late = analyse(LRS, _curve(35)).recommended, analyse(LRS, _curve(90)).recommended

    assert early is not None
    assert late is not None
    assert (early.lr, late.lr) == (3e-4, 1e-2)
    assert "clipped" in early.reasons
    assert early.confidence == "low"


def test_a_flat_curve_gets_the_default_and_says_so() -> None:
    found = analyse(LRS, [0.7] * 100)

    assert found.recommended is not None
    assert (found.recommended.lr, found.recommended.rule) == (2e-3, "default")
    assert found.recommended.reasons == ("default", "flat")
    assert found.suggestions["last_clear_descent"] is None
    assert found.warnings[-1].code == "flat"


def test_noise_without_a_fall_gets_the_default() -> None:
    found = analyse(LRS, [*np.random.default_rng(1).normal(2, 0.1, 100)])

    assert found.recommended is not None
    assert found.recommended.reasons == ("default", "fall_within_noise")


def test_a_fall_of_less_than_three_times_the_noise_lowers_the_confidence() -> None:
    found = analyse(LRS, _curve(60, depth=1.0, noise=0.5))

    assert found.recommended is not None
    assert "fall_within_noise" in found.recommended.reasons
    assert found.recommended.confidence == "low"


@pytest.mark.parametrize(
    ("losses", "reason"),
    [
        ([2.0, 2.1, 2.5, 9.0], "diverged_at_once"),
        ([2.0, 2.1, 2.2], "too_few_points"),
        ([nan] * 100, "no_finite_loss"),
        ([], "too_few_points"),
    ],
)
def test_a_record_that_no_rule_can_read_has_no_recommendation(
    losses: list[float], reason: str
) -> None:
    found = analyse(LRS[: len(losses)], losses)

    assert set(found.suggestions.values()) == {None}
    assert found.recommended is None
    if losses:
        assert {warning.reason for warning in found.warnings} == {reason}


def test_an_early_gap_leaves_the_zero_lag_rules_without_an_answer() -> None:
    found = analyse(LRS, [*_curve(60)[:3], nan, *_curve(60)[4:]])

    assert found.suggestions["valley"] is not None
    assert found.suggestions["last_clear_descent"] is None
    assert found.recommended is not None
    assert found.recommended.reasons == ("default", "too_few_points")


def test_each_missing_suggestion_is_named_in_a_warning() -> None:
    found = analyse(LRS[:30], _curve(20)[:30])

    assert [warning.code for warning in found.warnings] == [
        "slide_unavailable",
    ]
    assert found.warnings[0].detail == "15 usable points, 16 needed"


def test_the_rules_on_the_zero_lag_curve_drop_as_large_a_share_at_the_end_as_of_100_steps() -> None:
    curves = [RecordedCurve.of(LRS[:n], LRS[:n], LRS[:n], num_steps=n) for n in (20, 50, 100)]

    assert [curve.for_zero_lag_rules("fastai") for curve in curves] == [
        range(2, 19),
        range(5, 48),
        range(10, 95),
    ]
    assert [curve.for_fastais_rules("fastai") for curve in curves] == [
        range(2, 15),
        range(5, 45),
        range(10, 95),
    ]
    assert curves[0].for_zero_lag_rules("none") == range(20)


@pytest.mark.parametrize(
    ("falling", "planned", "says"),
    [
        (100, 100, "the lowest loss is at the high end of the swept rates; sweep further"),
        (70, 100, "the loss was still falling when the sweep ended early; repeat it"),
    ],
)
def test_a_loss_that_still_falls_is_told_whether_the_sweep_ended_or_was_ended(
    falling: int, planned: int, says: str
) -> None:
    found = analyse(LRS[:falling], list(np.linspace(3, 1, falling)), num_steps=planned)

    assert [warning.detail for warning in found.warnings] == [says]
    assert found.recommended is not None
    assert "at_edge_of_range" in found.recommended.reasons


def test_twenty_steps_find_a_minimum_two_decades_before_their_end() -> None:
    """The trim of fastai alone would be two decades of the eight."""
    lrs = exponential_sweep(1e-7, 10, 20)
    found = analyse(lrs, [abs(step - 15) * 0.1 + 1 for step in range(20)], num_steps=20)

    assert found.suggestions["minimum_over_10_zero_lag"] is not None
    assert found.suggestions["minimum_over_10_zero_lag"].step == 15
    assert found.suggestions["slide"] is None


def test_a_loss_still_falling_at_the_end_is_reported() -> None:
    found = analyse(LRS, list(np.linspace(3, 1, 100)))

    assert [warning.code for warning in found.warnings] == ["at_edge_of_range"]
    assert found.recommended is not None
    assert found.recommended.confidence == "low"


def test_the_whole_answer_is_strict_json() -> None:
    found = asdict(analyse(LRS, [*_curve(60)[:80], *[nan] * 20]))

    text = dumps(found, allow_nan=False)

    assert len(found["zero_lag"]) == 100
    assert found["zero_lag"][80:] == (None,) * 20
    assert '"range": [' in text


@settings(max_examples=30)
@given(
    power=st.integers(-3, 3),
    losses=st.lists(st.integers(100, 200).map(float), min_size=60, max_size=100),
)
def test_the_unit_of_the_loss_does_not_move_order_based_rules(
    power: int, losses: list[float]
) -> None:
    lrs = LRS[: len(losses)]
    once, scaled = analyse(lrs, losses), analyse(lrs, [loss * 2.0**power for loss in losses])

    for rule in ("minimum_over_10", "valley", "steepest"):
        assert once.suggestions[rule] is not None
        assert _rate(once, rule) == _rate(scaled, rule)


@settings(max_examples=30)
@given(shift=st.floats(-1, 100), low=st.integers(40, 80))
def test_adding_to_every_loss_does_not_move_the_recommendation(shift: float, low: int) -> None:
    losses = _curve(low)
    once, shifted = analyse(LRS, losses), analyse(LRS, [loss + shift for loss in losses])

    for rule in ("minimum_over_10_zero_lag", "last_clear_descent"):
        assert _rate(once, rule) == pytest.approx(_rate(shifted, rule), rel=0.25)


@settings(max_examples=50)
@given(losses=st.lists(st.floats(), max_size=100), trim=st.sampled_from(["fastai", "none"]))
def test_no_record_whatever_raises(losses: list[float], trim: lr_rules.Trim) -> None:
    found = analyse(LRS[: len(losses)], losses, trim=trim)

    dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize(
    ("lrs", "losses", "field"),
    [
        ([1e-3, 1e-2], [1.0], "losses"),
        ([1e-2, 1e-3], [1.0, 1.0], "lrs"),
        ([0.0, 1e-3], [1.0, 1.0], "lrs"),
        ([1e-40, 1e-3], [1.0, 1.0], "lrs"),
    ],
)
def test_rates_and_losses_that_do_not_fit_are_refused(
    lrs: list[float], losses: list[float], field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        analyse(lrs, losses)

    assert refused.value.field == field


def test_a_body_group_is_neither_clipped_nor_given_a_default() -> None:
    high, flat = _curve(90), [2.0] * 100

    found = analyse(LRS, high, of_body=True).recommended
    assert found is not None
    assert found.lr > 1e-2
    assert "clipped" not in found.reasons
    assert analyse(LRS, flat, of_body=True).recommended is None
    clipped, default = analyse(LRS, high).recommended, analyse(LRS, flat).recommended
    assert clipped is not None
    assert "clipped" in clipped.reasons
    assert default is not None
    assert default.rule == "default"
