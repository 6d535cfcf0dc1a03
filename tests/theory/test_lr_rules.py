"""fastai's rules on the points that fastai leaves them."""

from collections.abc import Callable, Sequence
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory import lr_rules
from ml.theory.lr_rules import NoAnswerError
from ml.theory.lr_suggestions import analyse
from ml.theory.schedules import exponential_sweep
from tests.golden.figures import Case, cases

Point = tuple[float, float, float]
"""The rate suggested, and the rate and the loss of the point it comes from."""

OURS = {
    "minimum": "minimum_over_10",
    "steep": "steepest",
    "valley": "valley",
    "slide": "slide",
}
LOSSES = st.lists(st.integers(0, 9).map(float) | st.sampled_from([nan, inf, 1e39]), max_size=60)


def points(lrs: Sequence[float], losses: Sequence[float], num_steps: int) -> dict[str, Any]:
    """What each of fastai's rules reads from a record; None where it has no answer."""
    steps = lr_rules.usable(losses, num_steps=num_steps, trim="fastai")
    inside = slice(steps.start, steps.stop)
    rules: dict[str, Callable[[], int]] = {
        "minimum": lambda: lr_rules.minimum(losses[inside]),
        "steep": lambda: lr_rules.steepest(lrs[inside], losses[inside]),
        "valley": lambda: lr_rules.valley(losses[inside]),
        "slide": lambda: lr_rules.slide(losses[inside]),
    }
    return {rule: _point(rule, index, lrs[inside], losses[inside]) for rule, index in rules.items()}


def _point(
    rule: str, index: Callable[[], int], lrs: Sequence[float], losses: Sequence[float]
) -> Point | None:
    try:
        at = index()
    except NoAnswerError:
        return None
    return (lrs[at] / 10 if rule == "minimum" else lrs[at], lrs[at], losses[at])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_suggestions"))
def test_the_points_that_are_read_are_those_that_fastai_reads(case: Case) -> None:
    recorded, trim = len(case["recorded_lrs"]), case["trim"]
    whole = lr_rules.usable([1.0] * recorded, num_steps=case["num_it"], trim="fastai")
    used = lr_rules.usable(case["recorded_losses"], num_steps=case["num_it"], trim="fastai")

    assert whole.start == trim["drop_begin"]
    assert whole.stop == max(recorded - trim["drop_end"], trim["drop_begin"])
    assert trim["drop_end"] == lr_rules.DROPPED_AT_END
    for expected in case["expected"]["fastai"].values():
        assert expected.get("n_used", len(used)) == len(used)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_suggestions"))
def test_every_rule_gives_fastais_rate_and_point_or_no_answer(case: Case) -> None:
    found = points(case["recorded_lrs"], case["recorded_losses"], case["num_it"])

    assert set(case["expected"]["fastai"]) == set(found)
    for rule, expected in case["expected"]["fastai"].items():
        point = found[rule]
        assert (point is None) == (expected.get("error") in {"IndexError", "ValueError"})
        if point is not None and f"fastai.{rule}" not in case["tie_or_rounding_sensitive"]:
            named = [expected["suggestion"], expected["point_lr"], expected["point_loss"]]
            assert list(point) == pytest.approx(named, rel=1e-5, abs=0)


@pytest.mark.golden
@pytest.mark.parametrize(
    "case", cases("lr_suggestions", where=lambda case: "lr_find_returned_valley" in case)
)
def test_a_whole_find_returns_the_valley_of_its_record(case: Case) -> None:
    rate, *_ = points(case["recorded_lrs"], case["recorded_losses"], case["num_it"])["valley"]

    assert rate == pytest.approx(case["lr_find_returned_valley"], rel=1e-5, abs=0)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("lr_schedule", "scripted_lr_find"))
def test_a_scripted_find_returns_what_the_rules_give_or_fails_with_them(case: Case) -> None:
    found = points(case["recorded_lrs"], case["recorded_losses"], case["args"]["num_it"])

    if "error" in case["returned"]:
        assert None in found.values()
        assert case["returned"]["error"] in {"IndexError", "ValueError"}
    else:
        rates = {rule: point and point[0] for rule, point in found.items()}
        assert rates == pytest.approx(case["returned"], rel=1e-5, abs=0)


@given(losses=LOSSES, num_steps=st.sampled_from([3, 6, 9, 10, 30, 100]))
def test_the_rules_are_what_their_definitions_say(losses: list[float], num_steps: int) -> None:
    lrs = exponential_sweep(1e-7, 10, 100)[: len(losses)]
    kept = [*zip(lrs, losses, strict=True)][num_steps // 10 : max(len(losses) - 5, 0)]
    numbers = [loss == loss for _, loss in kept]
    kept = kept[: numbers.index(False)] if False in numbers else kept
    x = np.array([lr for lr, _ in kept], dtype=np.float32)
    with np.errstate(over="ignore"):
        y = np.array([loss for _, loss in kept], dtype=np.float32)

    found = points(lrs, losses, num_steps)

    read = {rule: None if at is None else x.tolist()[at] for rule, at in _read(x, y).items()}
    rates = {rule: None if point is None else np.float32(point[1]) for rule, point in found.items()}
    assert rates == read


def _read(x: Any, y: Any) -> dict[str, int | None]:  # noqa: ANN401  (float32 arrays)
    """The rules once more, in the plainest way."""
    with np.errstate(invalid="ignore", over="ignore"):
        falls = (y[1:] - y[:-1]) / (np.log(x[1:]) - np.log(x[:-1]))
    return {
        "minimum": int(np.argmin(y)) if len(y) else None,
        "steep": int(np.argmin(falls)) if len(falls) else None,
        "valley": _valley(y.tolist()),
        "slide": _slide(y),
    }


def _valley(y: list[float]) -> int | None:
    longest = [1] * len(y)
    for at in range(len(y)):
        longer = [longest[before] + 1 for before in range(at) if y[at] < y[before]]
        longest[at] = max([1, *longer])
    if not y or max(longest) == 1:
        return 0 if y else None
    end = longest.index(max(longest))
    start = end - longest[end]
    return start + int((end - start) / 3) + int((end - start) / 3 / 2)


def _slide(y: Any) -> int | None:  # noqa: ANN401  (a float32 array)
    if len(y) < 16:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        slopes = np.gradient(y)
        right, at = -1, -16
        while right - 15 >= -len(y) and abs(slopes[right] - slopes[right - 15]) > 0.005:
            at, right = right - 15, right - 1
    return at


def test_a_find_answers_as_the_rules_do_where_every_loss_is_finite() -> None:
    lrs = exponential_sweep(1e-7, 10, 100)
    losses = [4.0 - 3.2 / (1 + 0.002 / lr) + lr**2 for lr in lrs]

    found = analyse(lrs, losses).suggestions

    for rule, point in points(lrs, losses, 100).items():
        suggestion = found[OURS[rule]]
        assert suggestion is not None
        assert suggestion.lr == pytest.approx(point[0])


@pytest.mark.parametrize(("points", "step"), [(1, 0), (2, -1), (3, 0), (4, 0), (10, 3)])
def test_the_valley_of_points_that_only_fall_is_about_half_way_down(points: int, step: int) -> None:
    assert lr_rules.valley([-float(point) for point in range(points)]) == step


def test_the_first_of_equal_minima_and_falls_wins() -> None:
    assert lr_rules.minimum([2.0, 1.0, 1.0]) == 1
    assert lr_rules.steepest([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]) == 0
    assert lr_rules.valley([1.0, 1.0, 1.0]) == 0


def test_the_steepest_of_rising_losses_is_where_they_rise_least() -> None:
    assert lr_rules.steepest([1.0, 2.0, 4.0, 8.0], [1.0, 3.0, 4.0, 9.0]) == 1


def test_the_slide_of_a_flat_curve_is_the_sixteenth_from_the_end() -> None:
    assert lr_rules.slide([0.7] * 40) == 40 - 16


@pytest.mark.parametrize(
    ("rule", "points"), [(lr_rules.minimum, 0), (lr_rules.valley, 0), (lr_rules.slide, 15)]
)
def test_a_rule_says_how_many_points_it_needs(
    rule: Callable[[list[float]], int], points: int
) -> None:
    with pytest.raises(NoAnswerError, match=f"{points} usable points, {points + 1} needed"):
        rule([1.0] * points)


@pytest.mark.parametrize("num_steps", [1, 5, 9])
def test_a_short_run_drops_nothing_at_its_start(num_steps: int) -> None:
    assert lr_rules.usable([1.0] * 9, num_steps=num_steps, trim="fastai") == range(4)
