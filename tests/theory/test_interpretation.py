"""Interpretation of predictions, against fastai's and scikit-learn's numbers and by hand."""

from math import inf, isnan, nan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.theory import cross_entropy, interpretation
from ml.theory.errors import InvalidInputError
from tests.golden.figures import Case, cases


def _counts(case: Case) -> interpretation.Counts:
    predicted = np.argmax(case["logits"], axis=1)
    return interpretation.confusion(case["targets"], predicted, len(case["vocab"]))


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("interpretation"))
def test_the_confusion_matrix_and_the_most_confused_pairs_are_fastais(case: Case) -> None:
    counts = _counts(case)

    assert np.argmax(case["logits"], axis=1).tolist() == case["expected"]["predicted"]
    assert cross_entropy.softmax(case["logits"]) == pytest.approx(
        np.array(case["expected"]["probabilities"]), rel=1e-5, abs=1e-9
    )
    assert counts.tolist() == case["expected"]["confusion_matrix"]
    for min_count, expected in case["expected"]["most_confused"].items():
        found = interpretation.most_confused(counts, case["vocab"], int(min_count))
        assert [[pair.actual, pair.predicted, pair.count] for pair in found] == expected


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("interpretation"))
def test_scores_of_every_class_are_scikit_learns(case: Case) -> None:
    report = interpretation.class_report(_counts(case), case["vocab"])

    expected = case["expected"]["classification_report_dict"]
    assert report.accuracy == pytest.approx(case["expected"]["accuracy"], rel=1e-6)
    assert report.accuracy == pytest.approx(expected["accuracy"], abs=1e-8)
    assert 1 - report.accuracy == pytest.approx(case["expected"]["error_rate"], abs=1e-6)
    for score in (*report.classes, report.macro, report.weighted):
        assert _as_scikit_learn(score) == pytest.approx(expected[score.label], abs=1e-8)


def _as_scikit_learn(score: interpretation.ClassScore) -> dict[str, float]:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1-score": score.f1,
        "support": score.support,
    }


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("interpretation"))
def test_the_top_losses_are_fastais(case: Case) -> None:
    losses = cross_entropy.per_sample(case["logits"], case["targets"])

    top = interpretation.top_losses(losses)
    lowest = interpretation.top_losses(losses, 3, largest=False)

    expected = case["expected"]
    assert losses.tolist() == pytest.approx(expected["per_sample_loss"], rel=1e-5, abs=1e-6)
    for found, listed in ((top, "top_losses"), (top[:3], "top_3"), (lowest, "smallest_3")):
        values, indices = expected[listed]["values"], expected[listed]["indices"]
        assert [each.loss for each in found] == pytest.approx(values, rel=1e-5, abs=1e-6)
        assert losses[indices].tolist() == pytest.approx(values, rel=1e-5, abs=1e-6)
        assert len(set(indices)) == len(indices)


@given(
    losses=st.lists(st.sampled_from([0.0, 0.5, 1.0, inf, nan]), max_size=12),
    largest=st.booleans(),
)
def test_the_values_of_the_top_losses_are_those_of_torchs_topk(
    losses: list[float], largest: bool
) -> None:
    for k in range(len(losses) + 1):
        values = torch.topk(torch.tensor(losses), k, largest=largest).values

        found = interpretation.top_losses(losses, k, largest=largest)

        assert [each.loss for each in found] == pytest.approx(values.tolist(), nan_ok=True)
        assert len({each.index for each in found}) == k


@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=40))
def test_scores_are_those_of_their_definitions(pairs: list[tuple[int, int]]) -> None:
    actual, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    counts = interpretation.confusion(actual, predicted, 5)
    report = interpretation.class_report(counts, "abcde")

    for place, score in enumerate(report.classes):
        right = pairs.count((place, place))
        assert score.support == actual.count(place)
        assert score.recall == pytest.approx(right / max(score.support, 1))
        assert score.precision == pytest.approx(right / max(predicted.count(place), 1))
        both = score.support + predicted.count(place)
        assert score.f1 == pytest.approx(2 * right / max(both, 1))
    assert report.macro.f1 == pytest.approx(sum(score.f1 for score in report.classes) / 5)
    weighted = sum(score.f1 * score.support for score in report.classes)
    assert report.weighted.f1 == pytest.approx(weighted / max(len(pairs), 1))


def test_no_losses_have_no_top() -> None:
    assert interpretation.top_losses([]) == ()
    assert interpretation.top_losses([], 0, largest=False) == ()


def test_a_class_that_is_never_predicted_has_an_empty_column_and_no_precision() -> None:
    counts = interpretation.confusion([0, 1, 1], [0, 0, 0], 3)
    absent, never = interpretation.class_report(counts, "abc").classes[2], counts[:, 1]

    assert never.tolist() == [0, 0, 0]
    assert counts[2].tolist() == [0, 0, 0]
    assert (absent.support, absent.recall, absent.precision, absent.f1) == (0, 0.0, 0.0, 0.0)


def test_ties_among_pairs_keep_the_order_of_the_classes() -> None:
    found = interpretation.most_confused([[0, 2, 2], [2, 0, 3], [2, 2, 0]], "abc")

    assert [(pair.actual, pair.predicted) for pair in found] == [
        ("b", "c"), ("a", "b"), ("a", "c"), ("b", "a"), ("c", "a"), ("c", "b"),
    ]  # fmt: skip


def test_equal_losses_keep_their_order_and_nan_is_the_largest() -> None:
    losses = [1.0, nan, 2.0, inf, 2.0]

    assert [each.index for each in interpretation.top_losses(losses)] == [1, 3, 2, 4, 0]
    assert [each.index for each in interpretation.top_losses(losses, 2, largest=False)] == [0, 2]


def test_pairs_are_directional_and_never_on_the_diagonal() -> None:
    found = interpretation.most_confused([[5, 1], [2, 5]], ["a", "b"], min_count=0)

    assert found == (
        interpretation.ConfusedPair("b", "a", 2),
        interpretation.ConfusedPair("a", "b", 1),
    )


def test_accuracy_without_samples_is_not_a_number() -> None:
    assert isnan(interpretation.accuracy([[0, 0], [0, 0]]))


@pytest.mark.parametrize(
    ("call", "arguments", "field"),
    [
        (interpretation.confusion, ([0], [0, 1], 2), "predicted"),
        (interpretation.confusion, ([0], [2], 2), "targets"),
        (interpretation.top_losses, ([1.0], 2), "k"),
    ],
)
def test_indices_and_counts_that_do_not_fit_are_refused(
    call: Any,  # noqa: ANN401  (any of three functions)
    arguments: tuple[Any, ...],
    field: str,
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        call(*arguments)

    assert refused.value.field == field
