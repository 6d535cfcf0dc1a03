from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from ml.theory.duplicates import MAX_DISTANCE, same_pictures

WORD = st.integers(0, 2**64 - 1)


def flipped(word: int, *bits: int) -> int:
    for bit in bits:
        word ^= 1 << bit
    return word


def test_equal_fingerprints_belong_together() -> None:
    assert same_pictures([5, 2**64 - 1, 5, 5]) == [[0, 2, 3]]


def test_nothing_is_the_same_as_nothing() -> None:
    assert same_pictures([]) == []
    assert same_pictures([7]) == []


def test_six_bits_are_near_wherever_they_are_and_seven_are_not() -> None:
    spread = (0, 11, 22, 33, 44, 63)
    assert same_pictures([0, flipped(0, *spread)]) == [[0, 1]]
    assert same_pictures([0, flipped(0, *range(6))]) == [[0, 1]]
    assert same_pictures([0, flipped(0, *spread, 50)]) == []


def test_a_chain_joins_what_is_not_near() -> None:
    middle = flipped(0, *range(6))
    far = flipped(middle, *range(20, 26))

    assert same_pictures([far, 0]) == []
    assert same_pictures([far, 0, middle]) == [[0, 1, 2]]


def test_thousands_of_pictures_that_are_all_near_each_other_are_one_group() -> None:
    """As of a camera that does not move; joining each pair of them would take an hour."""
    frames = [flipped(0, one, 16 + two, 32 + three)
              for one in range(16) for two in range(16) for three in range(32)]  # fmt: skip

    assert same_pictures(frames) == [list(range(8192))]


@given(st.lists(WORD, max_size=12), st.lists(st.tuples(st.integers(0, 11), st.integers(0, 63))))
def test_groups_are_those_of_comparing_each_with_each(
    words: list[int], copies: list[tuple[int, int]]
) -> None:
    words = words + [flipped(words[at], bit) for at, bit in copies if at < len(words)]

    groups = same_pictures(words)

    assert sorted(map(sorted, _by_all_pairs(words))) == groups


def _by_all_pairs(words: list[int]) -> list[set[int]]:
    groups = [{position} for position in range(len(words))]
    for one, other in combinations(range(len(words)), 2):
        if (words[one] ^ words[other]).bit_count() <= MAX_DISTANCE:
            first = next(group for group in groups if one in group)
            second = next(group for group in groups if other in group)
            if first is not second:
                groups.remove(second)
                first |= second
    return [group for group in groups if len(group) > 1]
