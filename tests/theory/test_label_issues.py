"""Which labels are suspect: worked by hand, and beside cleanlab's figures."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.theory.label_issues import label_issues
from tests.golden.figures import Case, cases


def logits_of(*probabilities: list[float]) -> NDArray[np.float64]:
    return np.asarray(np.log(probabilities), np.float64)


def suspects_among(logits: NDArray[np.float64], labels: list[int]) -> list[bool]:
    found = label_issues(logits, np.array(labels))
    assert found is not None
    return [bool(each) for each in found.suspects]


def test_a_photo_that_is_given_to_another_class_more_surely_than_that_class_s_own_is_suspect() -> (
    None
):
    # class 1 is given 0.8 on average where it is the label; the third photo reaches that, the
    # second does not
    logits = logits_of([0.9, 0.1], [0.3, 0.7], [0.15, 0.85], [0.2, 0.8], [0.2, 0.8])

    assert suspects_among(logits, [0, 0, 0, 1, 1]) == [False, False, True, False, False]


def test_the_least_believed_labels_are_suspect_whichever_photo_was_counted() -> None:
    # the third photo alone is confidently of another class (class 1), the second's label has less
    logits = logits_of([0.9, 0.05, 0.05], [0.1, 0.45, 0.45], [0.2, 0.75, 0.05], [0.3, 0.7, 0.0001])

    assert suspects_among(logits, [0, 0, 0, 1]) == [False, True, False, False]


def test_beyond_several_averages_the_larger_probability_counts() -> None:
    # on average class 0 is given 0.4 and class 1 is given 0.45 where they are the label
    beyond_both = [0.49, 0.5, 0.01]
    logits = logits_of([0.31, 0.3, 0.39], beyond_both, beyond_both, [0.3, 0.4, 0.3])

    # the second photo counts as one of class 1; the first has the label that is believed least
    assert suspects_among(logits, [0, 0, 1, 1]) == [True, False, False, False]


@pytest.mark.parametrize(
    ("labels", "logits"),
    [
        pytest.param([0, 0], [[4.0, 0.0], [0.0, 4.0]], id="one label only"),
        pytest.param([0, 1], [[inf, 0.0], [0.0, 1.0]], id="not finite"),
    ],
)
def test_where_nothing_can_be_said_of_labels_none_is_suspect(
    labels: list[int], logits: list[list[float]]
) -> None:
    assert label_issues(np.array(logits), np.array(labels)) is None


def test_a_class_without_photos_and_one_with_a_single_one_are_no_obstacle() -> None:
    sure = 4 * np.eye(3)[[0, 0, 0, 2]]

    assert suspects_among(sure, [0, 0, 0, 2]) == [False] * 4


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("label_issues"))
def test_labels_are_believed_and_suspected_as_by_cleanlab(case: Case) -> None:
    found = label_issues(np.array(case["logits"]), np.array(case["targets"]))

    assert found is not None
    expected = case["expected"]
    assert 1 - found.scores == pytest.approx(expected["label_quality"], rel=1e-12, abs=1e-15)
    assert np.flatnonzero(found.suspects).tolist() == expected["suspects"]


@given(st.integers(2, 30), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_of_equal_scores_the_first_is_suspect(photos: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # few different logits, so that many scores are equal
    logits = rng.integers(0, 3, (photos, classes)).astype(float)
    labels = rng.integers(0, classes, photos)
    labels[:2] = [0, 1]

    found = label_issues(logits, labels)

    assert found is not None
    count = int(found.suspects.sum())
    by_score = sorted(range(photos), key=lambda place: (-found.scores[place], place))
    assert set(np.flatnonzero(found.suspects).tolist()) == set(by_score[:count])
