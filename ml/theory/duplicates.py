"""Which pictures are the same, by fingerprints that small changes leave nearly as they are."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 6
"""Bits of 64 in which two perceptual hashes of one picture may differ.

Among 766 photos of pets and insects no two came nearer than 12; halved, brightened by a fifth or
saved at JPEG quality 30 a photo moved by at most 8, by 2 in the median.
"""

_BITS = 64

Words = NDArray[np.uint64]


def same_pictures(fingerprints: Sequence[int], max_distance: int = MAX_DISTANCE) -> list[list[int]]:
    """Positions of the fingerprints that belong together, in groups of two or more, in order.

    Two belong together when they differ in at most so many bits, and also when a chain of such
    pairs joins them. Fingerprints that near agree in at least one of ``max_distance + 1`` bands
    of bits, so only those that share a band are compared (Manku et al. 2007, "Detecting
    near-duplicates for web crawling").

    Args:
        fingerprints: Integers of 64 bits.
        max_distance: Bits, 0 to 15.
    """
    words, which = np.unique(np.array(fingerprints, np.uint64), return_inverse=True)
    leader = np.arange(len(words))
    for start, stop in pairwise(np.linspace(0, _BITS, max_distance + 2).astype(int)):
        mask = np.uint64(((1 << int(stop - start)) - 1) << int(start))
        for positions in _equal(words & mask):
            _join_near(words, positions, leader, max_distance)
    leaders = np.array([_leader(leader, int(word)) for word in which], np.int64)
    return sorted((group.tolist() for group in _equal(leaders)), key=lambda group: group[0])


def _equal(values: Words | NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions of values that occur twice or more, for each such value, ascending."""
    order = np.argsort(values, kind="stable")
    changes = np.flatnonzero(np.diff(values[order])) + 1
    return [group for group in np.split(order, changes) if len(group) > 1]


def _join_near(
    words: Words, positions: NDArray[np.int64], leader: NDArray[np.int64], max_distance: int
) -> None:
    reached: list[int] = []
    rest = positions
    while reached or len(rest):
        if not reached:
            reached, rest = [int(rest[0])], rest[1:]
        position = reached.pop()
        near = np.bitwise_count(words[rest] ^ words[position]) <= max_distance
        # each is reached once, however many it is near to
        found, rest = rest[near].tolist(), rest[~near]
        for other in found:
            one, two = _leader(leader, position), _leader(leader, other)
            leader[max(one, two)] = min(one, two)
        reached += found


def _leader(leader: NDArray[np.int64], position: int) -> int:
    while leader[position] != position:
        leader[position] = leader[leader[position]]
        position = int(leader[position])
    return position
