r"""Sets of characters as sorted ranges of code points: Python's \d, \w, \s and ignored case.

RE2 and Python disagree about these (RE2's are ASCII, its Unicode tables are of another version),
so a translated pattern carries the ranges themselves.
"""

from collections.abc import Callable, Iterable, Mapping
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
    r"""What ``\d`` matches in text: decimal digits of every script."""
    return _where(str.isdecimal)


@cache
def word_characters() -> Ranges:
    r"""What ``\w`` matches in text: letters, numbers and the underscore."""
    return _where(lambda character: character.isalnum() or character == "_")


@cache
def spaces() -> Ranges:
    r"""What ``\s`` matches in text."""
    return _where(str.isspace)


def either_case(ranges: Ranges, *, ascii_only: bool) -> Ranges:
    """The set with every other-case form of its letters, as Python's IGNORECASE sees them."""
    families = _ascii_families() if ascii_only else _unicode_families()
    added = [
        (other, other)
        for low, high in ranges
        for point in _cased_between(families, low, high)
        for other in families[point]
    ]
    return merged((*ranges, *added))


def _cased_between(families: Mapping[int, tuple[int, ...]], low: int, high: int) -> Iterable[int]:
    if high - low < len(families):
        return (point for point in range(low, high + 1) if point in families)
    return (point for point in families if low <= point <= high)


def _where(holds: Callable[[str], bool]) -> Ranges:
    return merged((point, point) for point in range(LAST + 1) if holds(chr(point)))


# Python's list of letters that match without case although no one-character form joins them
_JOINED_BY_PYTHON = (
    (0x49, 0x69, 0x130, 0x131),
    (0x390, 0x1FD3),
    (0x3B0, 0x1FE3),
    (0xFB05, 0xFB06),
)


@cache
def _ascii_families() -> Mapping[int, tuple[int, ...]]:
    upper = range(ord("A"), ord("Z") + 1)
    return _by_member([(point, point + 32) for point in upper])


@cache
def _unicode_families() -> Mapping[int, tuple[int, ...]]:
    """For each letter the characters that Python's IGNORECASE takes for it, itself included.

    They share a single-character lower or upper case, or stand in Python's list of exceptions.
    """
    shared: dict[int, set[int]] = {}
    for point in range(LAST + 1):
        lower = _single(chr(point).lower(), point)
        upper = _single(chr(lower).upper(), lower)
        if not lower == upper == point:
            shared.setdefault(upper, set()).update((point, lower))
    return _by_member([*shared.values(), *_JOINED_BY_PYTHON])


def _by_member(families: Iterable[Iterable[int]]) -> Mapping[int, tuple[int, ...]]:
    """Later families replace earlier ones of the same member."""
    table: dict[int, tuple[int, ...]] = {}
    for family in families:
        members = tuple(sorted(family))
        if len(members) > 1:
            table.update(dict.fromkeys(members, members))
    return table


def _single(text: str, point: int) -> int:
    return ord(text) if len(text) == 1 else point
