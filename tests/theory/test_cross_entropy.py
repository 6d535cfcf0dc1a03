"""Cross-entropy from logits, against torch's numbers and by hand."""

from math import exp, inf, isnan, log, nan
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from ml.theory import cross_entropy
from ml.theory.cross_entropy_explained import explain
from ml.theory.errors import InvalidInputError
from tests.golden.figures import Case, cases

SEED_ACTIVATIONS = [
    [-0.9916, -2.2545],
    [0.156, -1.9368],
    [-0.6164, 1.1047],
]
Floats = NDArray[np.float64]
LOGITS = arrays(np.float64, (3, 4), elements=st.floats(-500, 500))
KINDS = (
    "seed",
    "random",
    "extreme",
    "label_smoothing",
    "class_weights",
    "ignore_index",
    "combo",
    "nonfinite",
)


def _shape(case: Case) -> dict[str, Any]:
    return {
        "class_weights": case["weight"],
        "label_smoothing": case["label_smoothing"],
        "ignore_index": case["ignore_index"],
    }


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("cross_entropy", *KINDS))
def test_losses_of_samples_and_their_mean_are_torchs(case: Case) -> None:
    losses = cross_entropy.per_sample(case["logits"], case["targets"], **_shape(case))
    mean = cross_entropy.mean(case["logits"], case["targets"], **_shape(case))

    expected = case["expected"]
    assert losses.tolist() == pytest.approx(expected["per_sample"], rel=1e-10, nan_ok=True)
    assert mean == pytest.approx(expected["mean"], rel=1e-10, nan_ok=True)
    assert losses.sum() == pytest.approx(expected["sum"], rel=1e-10, nan_ok=True)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("cross_entropy", *KINDS))
def test_probabilities_of_the_targets_are_torchs(case: Case) -> None:
    explained = explain(case["logits"], case["targets"], ignore_index=case["ignore_index"])
    logs = cross_entropy.log_softmax(case["logits"])
    kept = [row for row, target in enumerate(case["targets"]) if target != case["ignore_index"]]

    expected = case["expected"]
    probabilities = [nan if each.p_target is None else each.p_target for each in explained.samples]
    assert probabilities == pytest.approx(expected["target_prob"], rel=1e-10, abs=0, nan_ok=True)
    found = [logs[row, case["targets"][row]] if row in kept else nan for row in range(len(logs))]
    assert found == pytest.approx(expected["target_log_prob"], rel=1e-10, nan_ok=True)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("cross_entropy", *KINDS))
def test_means_are_fastais_with_and_without_smoothing(case: Case) -> None:
    hard = cross_entropy.mean(
        case["logits"], case["targets"], **{**_shape(case), "label_smoothing": 0.0}
    )
    smooth = cross_entropy.per_sample(case["logits"], case["targets"], **_shape(case))

    expected = case["expected"]
    fastais = expected["fastai_CrossEntropyLossFlat_mean_float32_no_smoothing"]
    assert hard == pytest.approx(fastais, rel=1e-5, nan_ok=True)
    if "fastai_LabelSmoothingCrossEntropy_mean" in expected:
        each = expected["fastai_LabelSmoothingCrossEntropyFlat_per_sample"]
        assert smooth.tolist() == pytest.approx(each, rel=1e-5)
        mean = expected["fastai_LabelSmoothingCrossEntropy_mean"]
        assert smooth.mean() == pytest.approx(mean, rel=1e-5)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("cross_entropy", *KINDS))
def test_softmax_and_predictions_are_torchs(case: Case) -> None:
    probabilities = cross_entropy.softmax(case["logits"])
    explained = explain(case["logits"], case["targets"], ignore_index=case["ignore_index"])

    expected = case["expected"].get("softmax", probabilities)  # left out of the largest case
    assert probabilities == pytest.approx(np.array(expected), rel=1e-10, abs=1e-300, nan_ok=True)
    assert [each.predicted for each in explained.samples] == case["expected"]["predicted"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("cross_entropy", "prob_to_loss"))
def test_the_loss_is_minus_the_natural_logarithm_of_the_targets_probability(case: Case) -> None:
    for probability, loss in zip(case["p"], case["loss"], strict=True):
        rest = log(1 - probability) if probability < 1 else -inf
        target = log(probability) if probability > 0 else -inf
        found = cross_entropy.per_sample([[target, rest]], [0])
        assert found.tolist() == pytest.approx([loss], rel=1e-10, abs=1e-12)


@st.composite
def batches(draw: st.DrawFn) -> tuple[Floats, list[int], dict[str, Any]]:
    """Logits, targets of which some are ignored, and how the loss is shaped."""
    samples, classes = draw(st.integers(0, 4)), draw(st.integers(1, 5))
    numbers = st.floats(-1e4, 1e4) | st.sampled_from([nan, inf, -inf])
    logits = draw(arrays(np.float64, (samples, classes), elements=numbers))
    ignored = draw(st.sampled_from([-100, 0, 7]))
    target = st.integers(0, classes - 1) | st.just(ignored)
    weights = st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=classes, max_size=classes)
    shape = {
        "class_weights": draw(st.none() | weights),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "ignore_index": ignored,
    }
    return logits, draw(st.lists(target, min_size=samples, max_size=samples)), shape


@given(batch=batches())
def test_whatever_the_batch_losses_and_their_mean_are_torchs(
    batch: tuple[Floats, list[int], dict[str, Any]],
) -> None:
    logits, targets, shape = batch
    weights = shape["class_weights"]
    options: dict[str, Any] = {
        "weight": None if weights is None else torch.tensor(weights, dtype=torch.float64),
        "label_smoothing": shape["label_smoothing"],
        "ignore_index": shape["ignore_index"],
    }
    rows, classes = torch.tensor(logits), torch.tensor(targets, dtype=torch.int64)

    losses = torch.nn.functional.cross_entropy(rows, classes, reduction="none", **options)
    mean = torch.nn.functional.cross_entropy(rows, classes, **options)

    found = cross_entropy.per_sample(logits, targets, **shape)
    assert found.tolist() == pytest.approx(losses.tolist(), rel=1e-10, nan_ok=True)
    found_mean = cross_entropy.mean(logits, targets, **shape)
    assert found_mean == pytest.approx(mean.item(), rel=1e-9, nan_ok=True)


def test_fastais_smoothing_differs_from_torchs_under_class_weights_only() -> None:
    logits, targets, weights = [[2.0, 0.0]], [0], [1.0, 3.0]
    soft = [-log(1 / (1 + exp(-2))), -log(1 / (1 + exp(2)))]

    plain = cross_entropy.mean(logits, targets, label_smoothing=0.2)
    weighted = cross_entropy.mean(logits, targets, class_weights=weights, label_smoothing=0.2)

    assert plain == pytest.approx(0.8 * soft[0] + 0.1 * sum(soft))
    assert weighted == pytest.approx(0.8 * soft[0] + 0.1 * (soft[0] + 3 * soft[1]))


def test_a_single_class_costs_nothing() -> None:
    assert cross_entropy.per_sample([[5.0], [-5.0]], [0, 0]).tolist() == [0.0, 0.0]


def test_the_mean_of_no_samples_is_not_a_number() -> None:
    assert isnan(cross_entropy.mean(np.zeros((0, 3)), []))
    assert isnan(cross_entropy.mean([[1.0, 2.0]], [1], class_weights=[1.0, 0.0]))


def test_the_first_rows_of_the_worked_example_come_out_as_published() -> None:
    explained = explain(SEED_ACTIVATIONS, [0, 1, 0])

    assert [each.cross_entropy for each in explained.samples] == pytest.approx(
        [0.2491, 2.2091, 1.8857], abs=2e-4
    )
    assert [each.nll_of_softmax for each in explained.samples] == pytest.approx(
        [-0.7795, -0.1098, -0.1517], abs=2e-4
    )


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("cross_entropy", "seed"))
def test_two_classes_give_the_sigmoid_of_the_difference(case: Case) -> None:
    explained = explain(case["logits"], case["targets"])

    identity = case["expected"]["two_class_identity_sigmoid_of_logit_difference"]
    sigmoids = [each.sigmoid_of_difference for each in explained.samples]
    assert sigmoids == pytest.approx(identity, rel=1e-10)
    assert [each.softmax[0] for each in explained.samples] == pytest.approx(identity, rel=1e-10)
    losses = [each.cross_entropy for each in explained.samples]
    assert losses == pytest.approx(case["published_losses"], abs=2e-4)
    assert explained.mean == pytest.approx(case["published_mean"], abs=2e-4)


def test_equal_activations_cost_the_logarithm_of_the_number_of_classes() -> None:
    explained = explain([[2.0, 2.0, 2.0]], [1])

    assert explained.chance_level == pytest.approx(log(3))
    assert explained.mean == pytest.approx(log(3))
    assert explained.samples[0].sigmoid_of_difference is None


def test_the_gradient_is_softmax_minus_one_hot() -> None:
    explained = explain([[log(3.0), 0.0]], [0])

    assert explained.samples[0].softmax == pytest.approx((0.75, 0.25))
    assert explained.samples[0].gradient == pytest.approx((-0.25, 0.25))


@given(logits=LOGITS, smoothing=st.sampled_from([0.0, 0.1]))
def test_the_gradient_is_the_slope_of_the_loss(logits: Floats, smoothing: float) -> None:
    shape: dict[str, Any] = {"class_weights": [1, 2, 3, 4], "label_smoothing": smoothing}
    step = np.zeros((3, 4))
    step[:, 2] = 1e-4
    after = cross_entropy.per_sample(logits + step, [0, 2, 3], **shape)
    before = cross_entropy.per_sample(logits - step, [0, 2, 3], **shape)

    slopes = cross_entropy.gradient(logits, [0, 2, 3], **shape)

    assert slopes[:, 2] == pytest.approx((after - before) / 2e-4, abs=1e-4)


@given(logits=LOGITS)
def test_probabilities_sum_to_one(logits: Floats) -> None:
    assert cross_entropy.softmax(logits).sum(axis=1) == pytest.approx(1.0)


@given(logits=LOGITS, shift=st.floats(-100, 100))
def test_adding_a_constant_to_a_row_changes_nothing(logits: Floats, shift: float) -> None:
    targets = [0, 1, 3]

    shifted = cross_entropy.per_sample(logits + shift, targets)

    assert shifted == pytest.approx(cross_entropy.per_sample(logits, targets), abs=1e-9)


@given(logits=LOGITS)
def test_a_loss_is_never_negative(logits: Floats) -> None:
    assert cross_entropy.per_sample(logits, [0, 1, 2]).min() >= 0


def test_an_infinite_loss_is_sent_as_nothing_with_a_note() -> None:
    explained = explain([[-inf, 0.0], [nan, 0.0], [1.0, 0.0]], [0, 0, -100])

    assert [each.note for each in explained.samples] == [
        "infinite_loss",
        "not_a_number",
        "ignored",
    ]
    assert [each.cross_entropy for each in explained.samples] == [None, None, 0.0]
    assert explained.mean is None
    assert explained.derivation == ()


def test_the_derivation_carries_the_samples_own_numbers() -> None:
    text = " ".join(explain([[log(3.0), 0.0]], [1], class_names=["a", "b"]).derivation)

    assert "-ln 0.2500 = 1.3863" in text
    assert "1 - p is 0.7500" in text
    assert "sigmoid of the difference a0 - a1" in text
    assert "ln 2 = 0.6931" in text


def test_smoothing_and_weights_are_told_and_the_plain_loss_stays_beside() -> None:
    explained = explain([[0.0, 0.0]], [1], class_weights=[1.0, 3.0], label_smoothing=0.5)

    sample = explained.samples[0]
    assert sample.plain_cross_entropy == pytest.approx(log(2))
    assert sample.cross_entropy == pytest.approx(0.5 * 3 * log(2) + 0.5 / 2 * 4 * log(2))
    assert any("Label smoothing 0.5" in sentence for sentence in explained.derivation)
    assert any("Class weights" in sentence for sentence in explained.derivation)


def test_activations_so_large_that_exp_overflows_are_exact() -> None:
    losses = cross_entropy.per_sample([[1e4, -1e4], [1e4, -1e4]], [0, 1])

    assert losses.tolist() == [0.0, 20000.0]
    assert exp(-losses[0]) == 1.0


@pytest.mark.parametrize(
    ("arguments", "field", "message"),
    [
        (([[1.0, 2.0]], [2]), "targets", "target 2 of row 0 is not a class: use 0 to 1"),
        (([[1.0, 2.0]], [0, 1]), "targets", "1 rows of activations, 2 targets"),
        (([[1.0], [1.0, 2.0]], [0, 0]), "activations", "rows of activations differ in length"),
        (([1.0, 2.0], [0]), "activations", "activations have shape (2,)"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_by_field(
    arguments: tuple[Any, ...], field: str, message: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        explain(*arguments)

    assert refused.value.field == field
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"class_names": ["a"]}, "class_names"),
        ({"class_weights": [1.0]}, "class_weights"),
        ({"class_weights": [1.0, -1.0]}, "class_weights"),
        ({"label_smoothing": 1.5}, "label_smoothing"),
    ],
)
def test_an_option_that_does_not_fit_is_refused_by_field(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        explain([[1.0, 2.0]], [0], **options)

    assert refused.value.field == field
