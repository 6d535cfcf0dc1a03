"""Laws of the learning-rate rules: what may change about a range test without moving its answer.

The curves have a known shape: level, fall, turn, explosion. Bounds in decades are of log10 of a
rate; a step of 100 over eight decades is 0.08.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, log10, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.theory import lr_rules
from ml.theory.errors import InvalidInputError
from ml.theory.lr_suggestions import CONSENSUS, ON_ZERO_LAG, RULES, LrAnalysis, analyse
from ml.theory.schedules import DivergenceStop, exponential_sweep, smooth
from ml.theory.zero_lag import width_steps, zero_lag

law = settings(max_examples=30, derandomize=True, deadline=None)

OURS = sorted(ON_ZERO_LAG)
STEP = 0.081


@dataclass(frozen=True)
class Shape:
    """A loss that falls around ``turn`` by ``depth`` of its start and explodes around ``end``."""

    turn: float
    power: float
    end: float
    blow: float
    depth: float
    start: float

    def at(self, lrs: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """The loss at each rate."""
        x = np.asarray(lrs)
        fallen = self.depth / (1 + (self.turn / x) ** self.power)
        return np.asarray(self.start * (1 - fallen + (x / self.end) ** self.blow))


@dataclass(frozen=True)
class Test:
    """A range test as it is recorded, to the step that ends it."""

    __test__ = False

    lrs: tuple[float, ...]
    losses: tuple[float, ...]
    num_steps: int

    def read(self, *, of_body: bool = False) -> LrAnalysis:
        """What the rules say."""
        averages = smooth(self.losses)
        return analyse(
            self.lrs, self.losses, smoothed=averages, num_steps=self.num_steps, of_body=of_body
        )

    def until_it_diverges(self) -> "Test":
        """As a find records it."""
        stop = DivergenceStop()
        ends = (step + 1 for step, loss in enumerate(smooth(self.losses)) if stop.update(loss))
        taken = next(ends, len(self.lrs))
        return replace(self, lrs=self.lrs[:taken], losses=self.losses[:taken])


def swept(shape: Shape, *, num_steps: int = 100, noise: float = 0.0, seed: int = 0) -> Test:
    """The shape with noise as a share of its fall."""
    lrs = exponential_sweep(1e-7, 10, num_steps)
    quiet = shape.at(lrs)
    spread = noise * (quiet[0] - quiet.min())
    losses = quiet + spread * np.random.default_rng(seed).standard_normal(num_steps)
    return Test(lrs, tuple(losses.tolist()), num_steps).until_it_diverges()


SHAPES = st.builds(
    lambda turn, power, room, blow, depth, start: Shape(
        10**turn, power, 10 ** (turn + room), blow, depth, start
    ),
    st.floats(-3.5, -2),
    st.floats(1, 3),
    st.floats(1.5, 2.3),
    st.floats(1, 2.5),
    st.floats(0.3, 0.9),
    st.floats(0.5, 4),
)
SEEDS = st.integers(0, 1000)
TYPICAL = Shape(turn=3e-3, power=1.5, end=0.15, blow=2, depth=0.67, start=3.6)


def answer(found: LrAnalysis, rule: str) -> float:
    """The rate of a rule, or the recommended one; NaN where there is none."""
    given = found.recommended if rule == "recommended" else found.suggestions[rule]
    return nan if given is None else given.lr


def decades(one: LrAnalysis, other: LrAnalysis, rule: str) -> float:
    """How far apart the rule's rates are."""
    return abs(log10(answer(one, rule) / answer(other, rule)))


def is_trusted(found: LrAnalysis) -> bool:
    """Whether nothing speaks against the recommendation."""
    return found.recommended is not None and found.recommended.confidence == "medium"


# --- units -----------------------------------------------------------------------------------


@law
@given(SHAPES, st.integers(-6, 6), SEEDS)
def test_the_unit_of_the_loss_moves_no_rule_but_slide(shape: Shape, power: int, seed: int) -> None:
    """By powers of two, which floats multiply by without rounding."""
    test = swept(shape, noise=0.1, seed=seed)
    scaled = replace(test, losses=tuple(loss * 2.0**power for loss in test.losses))
    one, other = test.read(), scaled.read()

    for rule in (*RULES, "recommended"):
        if rule != "slide":
            expected = pytest.approx(answer(one, rule), rel=0, abs=0, nan_ok=True)
            assert answer(other, rule) == expected


def test_slide_depends_on_the_unit_of_the_loss() -> None:
    """The slopes of c i² differ by 30 c over 15 steps; slide compares that with 0.005."""
    parabola = np.arange(40.0) ** 2

    assert lr_rules.slide(1e-4 * parabola) == 40 - 16
    assert lr_rules.slide(1e-3 * parabola) == 0


@law
@given(SHAPES, st.integers(0, 64), SEEDS)
def test_a_constant_added_to_the_loss_moves_no_rule(shape: Shape, more: int, seed: int) -> None:
    """In units that float32 adds without rounding, and given the same record."""
    test = swept(shape, noise=0.1, seed=seed)
    averages = [round(4096 * loss) / 4096 for loss in smooth(test.losses)]
    one, other = (
        analyse(test.lrs, [x + add for x in test.losses], smoothed=[s + add for s in averages])
        for add in (0, more)
    )

    for rule in (*RULES, "recommended"):
        assert answer(other, rule) == pytest.approx(answer(one, rule), nan_ok=True)


def test_the_stop_depends_on_a_constant_added_to_the_loss() -> None:
    stop, shifted = DivergenceStop(), DivergenceStop()

    assert [stop.update(loss) for loss in (1.0, 5.0)] == [False, True]
    assert [shifted.update(loss + 10) for loss in (1.0, 5.0)] == [False, False]


@law
@given(SHAPES, st.floats(-4, 4), SEEDS)
def test_rates_all_multiplied_multiply_every_answer(shape: Shape, power: float, seed: int) -> None:
    """The clipping of a head's recommendation to [3e-4, 1e-2] is left out."""
    test = swept(shape, noise=0.1, seed=seed)
    moved = replace(test, lrs=tuple(lr * 10**power for lr in test.lrs))
    one, other = test.read(of_body=True), moved.read(of_body=True)

    for rule in (*RULES, "recommended"):
        assert answer(other, rule) == pytest.approx(answer(one, rule) * 10**power, nan_ok=True)


# --- noise, steps, spikes --------------------------------------------------------------------


@law
@given(SHAPES, SEEDS)
def test_noise_of_a_tenth_of_the_fall_moves_the_zero_lag_rules_by_four_tenths_of_a_decade(
    shape: Shape, seed: int
) -> None:
    quiet, noisy = swept(shape).read(), swept(shape, noise=0.1, seed=seed).read()

    for rule in OURS:
        assert decades(noisy, quiet, rule) <= 0.4


@law
@given(SHAPES, st.floats(0, 0.3), SEEDS)
def test_a_trusted_recommendation_is_within_a_factor_of_four_of_that_without_noise(
    shape: Shape, noise: float, seed: int
) -> None:
    noisy = swept(shape, noise=noise, seed=seed).read()

    if is_trusted(noisy):
        assert decades(noisy, swept(shape).read(), "recommended") <= 0.6


def test_noise_without_a_fall_is_never_trusted_and_mostly_answered_by_the_default() -> None:
    answers = [
        Test(exponential_sweep(1e-7, 10, num_steps), tuple(losses.tolist()), num_steps).read()
        for num_steps in (20, 50, 100, 400)
        for losses in 2 + 0.1 * np.random.default_rng(1).standard_normal((50, num_steps))
    ]

    assert not any(map(is_trusted, answers))
    defaults = sum(
        one.recommended is not None and one.recommended.rule == "default" for one in answers
    )
    assert defaults >= 0.8 * len(answers)


def test_valley_counts_a_fall_that_nobody_sees_like_any_other() -> None:
    """It reads the order of the losses only: a level that falls by 1e-6 a step is half the way."""
    flat = [2.0] * 50 + [2.0 - 0.02 * step for step in range(1, 41)]
    falling = [loss - 1e-6 * step for step, loss in enumerate(flat)]

    assert lr_rules.valley(flat) == 89 - 41 + 13 + 6
    assert lr_rules.valley(falling) == 89 - 90 + 30 + 15


@law
@given(SHAPES, st.sampled_from([50, 200, 400]))
def test_the_number_of_steps_moves_the_zero_lag_rules_by_less_than_a_step(
    shape: Shape, num_steps: int
) -> None:
    usual, other = swept(shape).read(), swept(shape, num_steps=num_steps).read()

    for rule in OURS:
        assert decades(other, usual, rule) <= STEP
    assert decades(other, usual, "recommended") <= 0.4


@law
@given(SHAPES, st.sampled_from([20, 25, 30, 40]))
def test_few_steps_move_the_zero_lag_rules_by_a_step_of_their_own(
    shape: Shape, num_steps: int
) -> None:
    usual, few = swept(shape).read(), swept(shape, num_steps=num_steps).read()

    for rule in OURS:
        assert decades(few, usual, rule) <= 8 / num_steps + STEP


def test_fastais_rules_depend_on_the_number_of_steps() -> None:
    """The average lags by fifty steps, slide compares slopes per step."""
    few, usual, many = (swept(TYPICAL, num_steps=steps).read() for steps in (20, 100, 400))

    assert decades(few, usual, "valley") > 0.3
    assert decades(many, usual, "slide") > 0.5
    assert answer(usual, "minimum_over_10") > 1.15 * answer(many, "minimum_over_10")


@law
@given(SHAPES, SEEDS, st.sampled_from([20, 50, 100, 400]))
def test_an_unclipped_recommendation_lies_between_the_two_zero_lag_rules_or_on_one(
    shape: Shape, seed: int, num_steps: int
) -> None:
    """A median of three: whatever valley says, the other two bound it."""
    found = swept(shape, noise=0.05, seed=seed, num_steps=num_steps).read(of_body=True)
    others = [answer(found, rule) for rule in CONSENSUS if rule != "valley"]

    if found.recommended is not None:
        lr = pytest.approx(found.recommended.lr)
        assert (
            min(others) == lr
            or max(others) == lr
            or min(others) < found.recommended.lr < max(others)
        )


@law
@given(SHAPES, st.sampled_from([10, 150]), st.integers(1, 93), SEEDS)
def test_one_loss_times_ten_or_more_moves_the_zero_lag_rules_by_a_step(
    shape: Shape, times: int, at: int, seed: int
) -> None:
    """When the record does not end at it."""
    test = swept(shape, noise=0.03, seed=seed)
    at = min(at, len(test.losses) - 2)
    spiked = replace(
        test, losses=(*test.losses[:at], test.losses[at] * times, *test.losses[at + 1 :])
    )

    for rule in OURS:
        assert decades(spiked.read(), test.read(), rule) <= STEP


@law
@given(SHAPES, st.sampled_from([10, 150]), st.integers(0, 99), SEEDS)
def test_a_spike_moves_a_recommendation_by_a_factor_of_three_or_it_is_not_trusted(
    shape: Shape, times: int, at: int, seed: int
) -> None:
    """As a find records it: a spike may end the sweep."""
    test = swept(shape, noise=0.03, seed=seed)
    at = min(at, len(test.losses) - 1)
    losses = (*test.losses[:at], test.losses[at] * times, *test.losses[at + 1 :])
    spiked = replace(test, losses=losses).until_it_diverges().read()

    if is_trusted(spiked):
        assert decades(spiked, test.read(), "recommended") <= log10(3)


def test_a_sweep_that_a_spike_ends_while_the_loss_falls_says_so() -> None:
    test = swept(TYPICAL, noise=0.01)
    spiked = replace(test, losses=(*test.losses[:62], 300 * test.losses[62], *test.losses[63:]))
    found = spiked.until_it_diverges().read()

    assert found.recommended is not None
    assert "at_edge_of_range" in found.recommended.reasons
    assert (
        found.warnings[-1].detail
        == "the loss was still falling when the sweep ended early; repeat it"
    )


# --- the zero-lag curve ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "num_steps", "width"),
    [
        (1e-7, 10, 100, 3.0),
        (1e-7, 10, 50, 1.5),
        (1e-7, 10, 400, 12.0),
        (1e-5, 0.1, 100, 6.0),
        (1e-7, 10, 20, 1.0),
        (1e-3, 1e-2, 100, 10.0),
        (1e-3, 1e-2, 20, 3.0),
    ],
)
def test_the_gaussian_is_as_wide_as_24_hundredths_of_a_decade(
    start: float, end: float, num_steps: int, width: float
) -> None:
    """At least a step; at most a tenth of the points, or three steps."""
    assert width_steps(exponential_sweep(start, end, num_steps)) == width


def test_rates_that_hardly_differ_have_a_width() -> None:
    assert width_steps([1.0, np.nextafter(1.0, 2)]) == 3.0
    assert width_steps([]) == width_steps([1.0]) == 3.0


def test_a_spike_counts_as_the_mean_of_its_neighbours() -> None:
    level = [2.0, 2.1] * 20
    spiked, levelled = level.copy(), level.copy()
    spiked[10], levelled[10] = 300.0, 2.1

    assert zero_lag(spiked) == pytest.approx(zero_lag(levelled))


def test_a_rise_that_goes_on_is_no_spike() -> None:
    explosion = [2.0 - 0.02 * step for step in range(40)] + [2.0 * 1.5**step for step in range(10)]

    assert zero_lag(explosion)[45] > 2.0


# --- what is no curve, and what has no answer -------------------------------------------------


@law
@given(st.integers(1, 99), st.floats(0, 1))
def test_rates_that_are_repeated_or_fall_are_refused(at: int, back: float) -> None:
    lrs = list(exponential_sweep(1e-7, 10, 100))
    lrs[at] = lrs[at - 1] * (1 - back / 2)

    with pytest.raises(InvalidInputError, match="ascend"):
        analyse(lrs, [1.0] * 100)


@law
@given(
    SHAPES, st.integers(0, 99), st.sampled_from([nan, inf, -inf]), st.lists(st.floats(), max_size=9)
)
def test_what_follows_a_loss_that_is_not_finite_changes_nothing(
    shape: Shape, at: int, broken: float, rest: list[float]
) -> None:
    losses = shape.at(exponential_sweep(1e-7, 10, 100)).tolist()
    cut = [*losses[:at], broken, *losses[at + 1 :]]
    other = [*cut[: at + 1], *rest, *cut[at + 1 + len(rest) :]][:100]

    lrs = exponential_sweep(1e-7, 10, 100)
    one, two = (analyse(lrs, each, smoothed=smooth(each)) for each in (cut, other))
    assert one == two


@law
@given(st.floats(0.1, 4), st.floats(0.01, 1), st.floats(0.2, 3))
def test_curves_without_a_minimum_say_why(level: float, by: float, power: float) -> None:
    lrs, place = exponential_sweep(1e-7, 10, 100), np.arange(100) / 100
    codes = {
        name: analyse(lrs, losses.tolist())
        for name, losses in {
            "falling": level * (1 + by * (1 - place) ** power),
            "rising": level * (1 + by * place**power),
            "flat": np.full(100, level),
        }.items()
    }

    falling = codes["falling"]
    assert [warning.code for warning in falling.warnings] == ["at_edge_of_range"]
    assert not is_trusted(falling)
    for name in ("rising", "flat"):
        found = codes[name]
        assert [warning.code for warning in found.warnings] == [
            "minimum_over_10_zero_lag_unavailable",
            "last_clear_descent_unavailable",
            "flat",
        ]
        assert {warning.reason for warning in found.warnings[:2]} == {"flat"}
        assert found.recommended is not None
        assert found.recommended.reasons == ("default", "flat")
