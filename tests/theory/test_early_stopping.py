from math import inf, nan

import pytest

from ml.theory.early_stopping import best_place, has_stalled


def test_the_best_is_the_first_of_the_lowest_losses_and_of_the_highest_accuracies() -> None:
    assert best_place([0.5, 0.3, 0.3, 0.4], "valid_loss") == 1
    assert best_place([0.5, 0.3, 0.5], "accuracy") == 0


def test_what_is_no_number_is_never_the_best() -> None:
    assert best_place([nan, 2.0, nan], "valid_loss") == 1
    assert best_place([nan, inf], "valid_loss") is None
    assert best_place([], "accuracy") is None


@pytest.mark.parametrize(
    ("losses", "stalled"),
    [
        ([], False),
        ([0.5], False),
        ([0.5, 0.6], False),
        ([0.5, 0.6, 0.5], True),
        ([0.5, 0.6, 0.4], False),
        ([0.5, 0.6, 0.4, nan, 0.4], True),
        ([nan, nan], True),
    ],
)
def test_two_epochs_in_a_row_without_a_lower_loss_exhaust_a_patience_of_two(
    losses: list[float], stalled: bool
) -> None:
    assert has_stalled(losses, "valid_loss", patience=2) is stalled


def test_better_means_by_more_than_min_delta() -> None:
    # each step is too small, but both together are not
    assert has_stalled([1.0, 0.75, 0.5], "valid_loss", patience=2, min_delta=0.5)
    assert not has_stalled([1.0, 0.75, 0.25], "valid_loss", patience=2, min_delta=0.5)
    assert has_stalled([0.5, 0.75], "accuracy", patience=1, min_delta=0.25)
