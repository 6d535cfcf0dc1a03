"""How sure a network is, beside how often it is right."""

from math import inf, isnan, log, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.calibration import (
    BINS,
    best_temperature,
    calibration,
    expected_error,
    reliability,
)
from ml.theory.errors import InvalidInputError

SURE = log(9)
"""Of two classes, a logit of ln 9 beside 0 is a probability of 0.9."""


def test_bins_hold_their_upper_edge_and_count_what_is_in_them() -> None:
    # 9/15 is the upper edge of the ninth bin
    bins = reliability([0.6, 0.61, 0.65, 1.0], [True, False, True, True])

    assert [each.count for each in bins] == [0] * 8 + [1, 2] + [0] * 4 + [1]
    assert bins[9].confidence == pytest.approx(0.63)
    assert bins[9].accuracy == 0.5
    assert (bins[0].confidence, bins[0].accuracy) == (None, None)
    assert (bins[-1].lower, bins[-1].upper) == (14 / 15, 1.0)


def test_the_expected_error_is_the_mean_gap_weighted_by_counts() -> None:
    # three at 0.9 of which two are right, one at 0.5 that is right
    bins = reliability([0.9, 0.9, 0.9, 0.5], [True, True, False, True])

    assert expected_error(bins) == pytest.approx((3 * abs(2 / 3 - 0.9) + 1 * 0.5) / 4)


def test_without_samples_the_expected_error_is_no_number() -> None:
    assert isnan(expected_error(reliability([], [])))


def test_a_network_that_is_surer_than_right_is_warmer_than_one() -> None:
    # sure of 0.9 each time and right three times in four: 9 ** (1/T) = 3, so T = ln 9 / ln 3
    logits = np.array([[SURE, 0.0]] * 4)

    found = calibration(logits, [0, 0, 0, 1])

    assert found is not None
    assert found.temperature == pytest.approx(2.0)
    assert found.expected_error == pytest.approx(0.15)
    assert found.expected_error_with_temperature == pytest.approx(0.0, abs=1e-9)
    assert found.loss == pytest.approx(-(3 * log(0.9) + log(0.1)) / 4)
    assert found.loss_with_temperature == pytest.approx(-(3 * log(0.75) + log(0.25)) / 4)


@pytest.mark.parametrize(
    "labels",
    [pytest.param([0, 0], id="right everywhere"), pytest.param([0, 1], id="no better than chance")],
)
def test_where_no_temperature_is_best_there_is_none(labels: list[int]) -> None:
    found = calibration([[SURE, 0.0]] * 2, labels)

    assert found is not None
    assert found.temperature is None
    assert found.loss_with_temperature is None
    assert found.expected_error_with_temperature is None


@pytest.mark.parametrize("logit", [nan, inf, -inf])
def test_logits_that_are_not_finite_have_no_calibration(logit: float) -> None:
    assert calibration([[logit, 0.0], [1.0, 0.0]], [0, 0]) is None


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="target 2 of row 0 is not a class"):
        best_temperature([[1.0, 0.0]], [2])
    with pytest.raises(InvalidInputError, match="target -1 of row 0 is not a class"):
        best_temperature([[1.0, 0.0]], [-1])


def test_no_other_temperature_has_a_lower_loss_by_torchs_own_account() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(200, 5, generator=generator, dtype=torch.float64)
    labels = torch.where(
        torch.rand(200, generator=generator) < 0.7,
        logits.argmax(dim=1),
        torch.randint(0, 5, (200,), generator=generator),
    )

    best = best_temperature(logits.numpy(), labels.numpy())

    def loss(temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / temperature, labels))

    assert best is not None
    assert all(loss(best) <= loss(best * factor) for factor in (0.5, 0.9, 0.99, 1.01, 1.1, 2.0))


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=40))
def test_every_sample_is_in_one_bin_and_the_error_is_a_share(
    samples: list[tuple[float, bool]],
) -> None:
    bins = reliability([sure for sure, _ in samples], [right for _, right in samples])

    assert len(bins) == BINS
    assert sum(each.count for each in bins) == len(samples)
    assert 0 <= expected_error(bins) <= 1
