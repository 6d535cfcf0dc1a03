import numpy as np
import pytest

from ml.theory import cross_entropy
from ml.theory.class_weights import balanced, weighted_losses

LOGITS = [[2.0, 0.0, 1.0], [0.5, 1.5, 0.0], [-1.0, 1.0, 3.0]]
LABELS = np.array([0, 1, 0])
WEIGHTS = (0.5, 3.0, 2.0)


def test_balanced_classes_weigh_the_same_in_all() -> None:
    weights = balanced([6, 2, 4])

    assert weights == pytest.approx((12 / 18, 2.0, 1.0))
    assert [n * w for n, w in zip([6, 2, 4], weights, strict=True)] == pytest.approx([4.0] * 3)


def test_a_class_without_photos_weighs_one() -> None:
    assert balanced([3, 0, 1]) == pytest.approx((4 / 6, 1.0, 2.0))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_weighted_mean_of_the_losses_is_that_of_cross_entropy(smoothing: float) -> None:
    found = weighted_losses(LOGITS, LABELS, class_weights=WEIGHTS, label_smoothing=smoothing)

    assert found.weights.tolist() == [0.5, 3.0, 0.5]
    assert found.mean == pytest.approx(
        cross_entropy.mean(LOGITS, LABELS, class_weights=WEIGHTS, label_smoothing=smoothing)
    )


def test_without_smoothing_a_weight_does_not_change_its_own_loss() -> None:
    found = weighted_losses(LOGITS, LABELS, class_weights=WEIGHTS)

    assert found.losses == pytest.approx(cross_entropy.per_sample(LOGITS, LABELS))
    assert weighted_losses(LOGITS, LABELS).weights.tolist() == [1.0, 1.0, 1.0]
