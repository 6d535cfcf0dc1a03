"""Sets of characters as sorted ranges of code points, with Python's meaning of \\d, \\w, \\s and case.

RE2 and Python disagree about these (RE2's are ASCII, its Unicode tables are of another version),
so a translated pattern carries the ranges themselves.
"""

from collections.abc import Callable, Iterable
from functools import cache

Ranges = tuple[tuple[int, int], ...]

LAST = 0x10FFFF
SURROGATES: Ranges = ((0xD800, 0xDFFF),)


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same set as sorted ranges that neither touch nor overlap."""
    result: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if result and low <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return tuple(result)


def complement(ranges: Ranges) -> Ranges:
    """All other code points."""
    result = []
    start = 0
    for low, high in ranges:
        if start < low:
            result.append((start, low - 1))
        start = high + 1
    return (*result, (start, LAST)) if start <= LAST else tuple(result)


def without(ranges: Ranges, removed: Ranges) -> Ranges:
    """The code points of ``ranges`` that are not in ``removed``."""
    return complement(merged((*complement(ranges), *removed)))


@cache
def digits() -> Ranges:
    """What ``\\d`` matches in text: decimal digits of every script."""
    return _where(str.isdecimal)


@cache
def word_characters() -> Ranges:
    """What ``\\w`` matches in text: letters, numbers and the underscore."""
    return _where(lambda character: character.isalnum() or character == "_")


@cache
def spaces() -> Ranges:
    """What ``\\s`` matches in text."""
    return _where(str.isspace)


def either_case(ranges: Ranges, *, ascii_only: bool) -> Ranges:
    """The set with every other-case form of its letters, as Python's IGNORECASE sees them."""
    families = _ascii_families() if ascii_only else _unicode_families()
    added = [
        (other, other)
        for family in families
        if any(_contains(ranges, point) for point in family)
        for other in family
    ]
    return merged((*ranges, *added))


def _contains(ranges: Ranges, point: int) -> bool:
    return any(low <= point <= high for low, high in ranges)


def _where(holds: Callable[[str], bool]) -> Ranges:
    return merged((point, point) for point in range(LAST + 1) if holds(chr(point)))


@cache
def _ascii_families() -> tuple[tuple[int, ...], ...]:
    return tuple((upper, upper + 32) for upper in range(ord("A"), ord("Z") + 1))


@cache
def _unicode_families() -> tuple[tuple[int, ...], ...]:
    """Characters that Python's IGNORECASE takes for one another.

    They share a single-character lower or upper case: that also joins the pairs which the
    standard library lists by hand, such as the two small sigmas.
    """
    shared: dict[int, set[int]] = {}
    for point in range(LAST + 1):
        lower = _single(chr(point).lower(), point)
        upper = _single(chr(lower).upper(), lower)
        if not lower == upper == point:
            shared.setdefault(upper, set()).update((point, lower))
    return tuple(tuple(sorted(family)) for family in shared.values() if len(family) > 1)


def _single(text: str, point: int) -> int:
    return ord(text) if len(text) == 1 else point
