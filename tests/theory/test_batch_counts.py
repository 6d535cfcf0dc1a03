import pytest

from ml.theory.batch_counts import fitting


@pytest.mark.parametrize(
    ("photos", "batch_size", "accumulate", "expected"),
    [
        (10, 4, 1, (4, 1, 2)),
        (10, 4, 2, (4, 2, 1)),
        (10, 2, 2, (2, 2, 2)),
        # there are no five batches of four, nor one of twelve
        (10, 4, 5, (4, 2, 1)),
        (10, 12, 5, (10, 1, 1)),
    ],
)
def test_a_step_takes_as_many_whole_batches_as_are_wished_and_there(
    photos: int, batch_size: int, accumulate: int, expected: tuple[int, int, int]
) -> None:
    found = fitting(photos, batch_size=batch_size, accumulate=accumulate)

    assert (found.batch_size, found.accumulate, found.steps_per_epoch) == expected
