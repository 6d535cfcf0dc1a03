import math
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.step_forms import GUESSED_PREPARE_S, TRIAL_SHARE, Seen, StepForm, best_form

ALL: tuple[StepForm, ...] = ("eager", "graphed", "compiled")


def seen(**times: tuple[float, float]) -> Mapping[StepForm, Seen]:
    return {
        form: Seen(prepare_s=times[form][0], step_s=times[form][1]) for form in ALL if form in times
    }


EVERY_FORM = seen(eager=(0, 0.020), graphed=(2, 0.016), compiled=(60, 0.010))


@pytest.mark.parametrize(
    ("steps_left", "best"),
    [
        (499, "eager"),  # 2 s of preparing save 4 ms a step: 500 steps
        (501, "graphed"),
        (9_666, "graphed"),  # 58 s more save another 6 ms: 9,667 steps
        (9_667, "compiled"),
    ],
)
def test_a_form_is_chosen_once_preparing_it_takes_less_than_it_saves(
    steps_left: int, best: StepForm
) -> None:
    assert best_form(EVERY_FORM, now="eager", usable=ALL, steps_left=steps_left) == best


def test_what_is_prepared_already_costs_nothing_more() -> None:
    assert best_form(EVERY_FORM, now="compiled", usable=ALL, steps_left=1) == "compiled"


def test_a_form_that_turned_out_slower_is_left() -> None:
    slower = seen(eager=(0, 0.020), graphed=(2, 0.021))

    assert best_form(slower, now="graphed", usable=("eager", "graphed"), steps_left=10) == "eager"


def test_nothing_is_tried_before_the_eager_form_was_seen() -> None:
    assert best_form({}, now="eager", usable=ALL, steps_left=10**9) == "eager"


@pytest.mark.parametrize("form", ["graphed", "compiled"])
def test_a_form_is_tried_where_its_guessed_cost_is_a_small_share_of_what_is_left(
    form: StepForm,
) -> None:
    others = [each for each in GUESSED_PREPARE_S if each != form]
    usable = [each for each in ALL if each not in others]
    enough = math.ceil(GUESSED_PREPARE_S[form] / TRIAL_SHARE)
    eager = seen(eager=(0, 1.0))

    assert best_form(eager, now="eager", usable=usable, steps_left=enough) == form
    assert best_form(eager, now="eager", usable=usable, steps_left=enough - 1) == "eager"


def test_the_cheaper_form_is_tried_first() -> None:
    eager = seen(eager=(0, 1.0))

    assert best_form(eager, now="eager", usable=ALL, steps_left=10**6) == "graphed"


def test_a_form_under_trial_stays_until_it_was_seen() -> None:
    eager = seen(eager=(0, 1.0))

    assert best_form(eager, now="graphed", usable=ALL, steps_left=10**6) == "graphed"


TIMES = st.builds(
    Seen,
    prepare_s=st.floats(0, 1e4),
    step_s=st.floats(1e-5, 1e3),
)


@given(
    found=st.dictionaries(st.sampled_from(ALL), TIMES),
    now=st.sampled_from(ALL),
    usable=st.sets(st.sampled_from(ALL)).map(lambda some: some | {"eager"}),
    steps_left=st.integers(1, 10**7),
)
def test_the_choice_can_be_used_and_is_never_expected_to_take_longer_than_eager_steps(
    found: dict[StepForm, Seen], now: StepForm, usable: set[StepForm], steps_left: int
) -> None:
    if now not in usable:
        return
    form = best_form(found, now=now, usable=usable, steps_left=steps_left)

    assert form in usable
    if form in found and form != now and "eager" in found:
        one, eager = found[form], found["eager"]
        assert (
            one.prepare_s + steps_left * one.step_s <= eager.prepare_s + steps_left * eager.step_s
        )


@pytest.mark.parametrize(
    ("prepare_s", "step_s"), [(-1, 1), (math.inf, 1), (0, 0), (0, math.inf), (0, math.nan)]
)
def test_times_that_no_form_can_take_are_refused(prepare_s: float, step_s: float) -> None:
    with pytest.raises(ValueError, match="times that are not finite or not above 0"):
        Seen(prepare_s=prepare_s, step_s=step_s)
