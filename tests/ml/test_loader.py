import threading
from collections.abc import Iterator

import numpy as np
import pytest

from ml.loader import ordered_batches, prefetched, shuffled_batches


def test_a_pass_visits_each_position_at_most_once_in_full_batches() -> None:
    batches = shuffled_batches(10, 4, seed=0, epoch=0)

    assert [len(batch) for batch in batches] == [4, 4]
    assert len(set(np.concatenate(batches).tolist())) == 8


def test_the_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = shuffled_batches(64, 8, seed=seed, epoch=epoch)
        return [int(position) for batch in batches for position in batch]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_a_pass_in_order_keeps_the_last_partial_batch() -> None:
    assert [batch.tolist() for batch in ordered_batches(5, 2)] == [[0, 1], [2, 3], [4]]
    assert ordered_batches(0, 2) == []


def test_values_come_in_the_order_of_their_keys() -> None:
    with prefetched(range(20), lambda key: key * key, depth=2) as ready:
        assert list(ready) == [key * key for key in range(20)]


def test_a_consumer_that_leaves_early_ends_the_thread() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    before = threading.active_count()
    with prefetched(endless(), lambda key: key, depth=1) as ready:
        next(ready)

    assert threading.active_count() == before


def test_an_error_arrives_where_its_value_would_have() -> None:
    taken: list[int] = []

    with prefetched([1, 0], lambda key: 1 // key) as ready, pytest.raises(ZeroDivisionError):
        taken.extend(ready)

    assert taken == [1]
