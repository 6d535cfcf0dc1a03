"""Interpretation of predictions, against fastai's and scikit-learn's numbers and by hand."""

from math import inf, isnan, nan
from typing import Any

import numpy as np
import pytest

from ml.theory import cross_entropy, interpretation
from ml.theory.errors import InvalidInputError
from tests.theory.figures import Case, cases


def _counts(case: Case) -> interpretation.Counts:
    predicted = np.argmax(case["logits"], axis=1)
    return interpretation.confusion(case["targets"], predicted, len(case["vocab"]))


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("interpretation"))
def test_the_confusion_matrix_and_the_most_confused_pairs_are_fastais(case: Case) -> None:
    counts = _counts(case)

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
    assert [each.loss for each in top] == pytest.approx(
        expected["top_losses"]["values"], rel=1e-5, abs=1e-6
    )
    assert [each.loss for each in lowest] == pytest.approx(
        expected["smallest_3"]["values"], rel=1e-5, abs=1e-6
    )


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
