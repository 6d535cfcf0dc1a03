"""What became of samples that were right (1) or wrong (0) at some moments."""

import numpy as np
import pytest

from ml.theory.errors import InvalidInputError
from ml.theory.forgetting import Learning, histories


@pytest.mark.parametrize(
    ("correct", "learning", "events"),
    [
        ([1], Learning.LEARNED, 0),
        ([1, 1, 1], Learning.LEARNED, 0),
        ([0, 0, 1], Learning.LEARNED, 0),
        ([1, 0, 1], Learning.FLIPPED, 1),
        ([1, 0, 1, 0, 1], Learning.FLIPPED, 2),
        ([0, 1, 0], Learning.FORGOTTEN, 1),
        ([1, 0, 0], Learning.FORGOTTEN, 1),
        ([1, 0, 1, 0], Learning.FORGOTTEN, 2),
        ([0, 0, 0], Learning.NEVER_LEARNED, 0),
        ([0], Learning.NEVER_LEARNED, 0),
    ],
)
def test_a_history_ends_in_one_of_four_ways(
    correct: list[int], learning: Learning, events: int
) -> None:
    found = histories([correct])

    assert found.learning == (learning,)
    assert found.forgetting_events.tolist() == [events]


def test_exactly_those_that_end_right_are_learned_or_flipped() -> None:
    every_history_of_four = [[code >> place & 1 for place in range(4)] for code in range(16)]

    found = histories(every_history_of_four)

    ends_right = {Learning.LEARNED, Learning.FLIPPED}
    for history, learning in zip(every_history_of_four, found.learning, strict=True):
        assert (learning in ends_right) == (history[-1] == 1)


def test_no_samples_have_no_history_and_no_moment_is_refused() -> None:
    assert histories(np.empty((0, 3))).learning == ()
    with pytest.raises(InvalidInputError, match=r"shape is \(2, 0\)"):
        histories(np.empty((2, 0)))
