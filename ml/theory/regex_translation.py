r"""Python's regular expressions rewritten for RE2, which matches in linear time.

The pattern is read by Python's own parser and written anew, never edited as text. What RE2 has no
counterpart for is refused by name. Three things let the rest agree with ``re`` to the letter:

- every character class is written as the ranges that Python means by it;
- a name with newlines inside has them replaced by `INNER_NEWLINE` before matching, which every
  class then treats as a newline, so that ``(?m:$)`` stands for Python's ``$``: the end, or before
  a last newline;
- ``\b`` is RE2's ASCII one; `Translation.has_word_boundary` tells when that matters.
"""

import importlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml.theory import code_points
from ml.theory.code_points import Ranges, complement, merged, without
from ml.theory.errors import InvalidRegexError

# the parser has no typed public name; `sre_parse` is the same module under a deprecated one
_parser: Any = importlib.import_module("re._parser")

INNER_NEWLINE = "\ufdd0"
MOST_REPEATS = 1000

_NEWLINES: Ranges = ((10, 10), (ord(INNER_NEWLINE), ord(INNER_NEWLINE)))
_REFUSED = {
    "ASSERT": "look-ahead or look-behind",
    "ASSERT_NOT": "negative look-ahead or look-behind",
    "GROUPREF": "backreference",
    "GROUPREF_EXISTS": "conditional group",
    "POSSESSIVE_REPEAT": "possessive quantifier",
    "ATOMIC_GROUP": "atomic group",
    "FAILURE": "negative look-ahead",
}


@dataclass(frozen=True, slots=True)
class Translation:
    """A pattern for RE2 with the groups of the Python pattern.

    ``replaces_newlines``: names must have inner newlines replaced by `INNER_NEWLINE` first.
    """

    re2_pattern: str
    num_groups: int
    group_names: Mapping[str, int]
    has_word_boundary: bool
    replaces_newlines: bool


def translate(pattern: str) -> Translation:
    """The RE2 pattern that finds what Python's ``re`` finds.

    Raises:
        InvalidRegexError: it is no regular expression, or uses what RE2 cannot do; ``construct``
            says what.
    """
    parsed = _parse(pattern)
    writer = _Writer(pattern, replaces_newlines=True)
    written = writer.sequence(parsed, parsed.state.flags)
    if writer.stops_at_every_line:
        writer = _Writer(pattern, replaces_newlines=False)
        written = writer.sequence(parsed, parsed.state.flags)
    return Translation(
        re2_pattern=written,
        num_groups=parsed.state.groups - 1,
        group_names=dict(parsed.state.groupdict),
        has_word_boundary=writer.has_word_boundary,
        replaces_newlines=writer.replaces_newlines,
    )


def _parse(pattern: str) -> Any:  # noqa: ANN401  (the parser's tree has no public type)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd but legal patterns: Python accepts them as well
            return _parser.parse(pattern)
    except (re.error, OverflowError, ValueError) as error:
        raise InvalidRegexError(pattern, "syntax", str(error)) from error
    except RecursionError as error:
        raise InvalidRegexError(pattern, "nesting", "its groups are nested too deep") from error


class _Writer:
    """Writes a parsed pattern as RE2; one method for each kind of node."""

    def __init__(self, pattern: str, *, replaces_newlines: bool) -> None:
        self.pattern = pattern
        self.replaces_newlines = replaces_newlines
        self.has_word_boundary = False
        self.stops_at_every_line = False
        self.order_dependent = 0  # groups and lazy repeats: RE2 loops over nothing otherwise

    def sequence(self, nodes: Any, flags: int) -> str:  # noqa: ANN401  (the parser's tree)
        try:
            return "".join(self.node(str(kind), value, flags) for kind, value in nodes)
        except RecursionError as error:
            raise self.refused("nesting", "its groups are nested too deep") from error

    def node(self, kind: str, value: Any, flags: int) -> str:  # noqa: ANN401  (the parser's tree)
        if kind in _REFUSED:
            raise self.refused(_REFUSED[kind], f"a {_REFUSED[kind]} has no linear-time match")
        writers = {
            "SUBPATTERN": self.group,
            "BRANCH": self.branch,
            "MAX_REPEAT": self.greedy,
            "MIN_REPEAT": self.lazy,
            "AT": self.position,
        }
        if kind in writers:
            return writers[kind](value, flags)
        return self.characters(self.ranges(kind, value, flags))

    def group(self, value: Any, flags: int) -> str:  # noqa: ANN401  (the parser's tree)
        number, added, removed, inner = value
        written = self.sequence(inner, (flags | added) & ~removed)
        if number is None:
            return f"(?:{written})"
        self.order_dependent += 1
        return f"({written})"

    def branch(self, value: Any, flags: int) -> str:  # noqa: ANN401  (the parser's tree)
        return f"(?:{'|'.join(self.sequence(arm, flags) for arm in value[1])})"

    def greedy(self, value: Any, flags: int) -> str:  # noqa: ANN401  (the parser's tree)
        low, high, inner = value
        bounded = str(high) != "MAXREPEAT"
        if max(low, high if bounded else 0) > MOST_REPEATS:
            raise self.refused("repeat count", f"a repeat may count to {MOST_REPEATS} at most")
        order_dependent = self.order_dependent
        written = f"(?:{self.sequence(inner, flags)}){{{low},{high if bounded else ''}}}"
        repeats_nothing = (not bounded or high > 1) and inner.getwidth()[0] == 0
        if repeats_nothing and self.order_dependent > order_dependent:
            raise self.refused(
                "repeat of nothing", "a repeated part with a group in it may match nothing"
            )
        return written

    def lazy(self, value: Any, flags: int) -> str:  # noqa: ANN401  (the parser's tree)
        written = self.greedy(value, flags) + "?"
        self.order_dependent += 1
        return written

    def position(self, value: Any, flags: int) -> str:  # noqa: ANN401  (the parser's tree)
        place = str(value)
        if "BOUNDARY" in place:
            self.has_word_boundary |= not flags & re.ASCII
            return r"\B" if "NON" in place else r"\b"
        if place.endswith("_STRING"):
            return r"\A" if "BEGINNING" in place else r"\z"
        multiline = bool(flags & re.MULTILINE)
        self.stops_at_every_line |= multiline
        if place == "AT_BEGINNING":
            return "(?m:^)" if multiline else r"\A"
        if not multiline and not self.replaces_newlines:
            raise self.refused("$ beside a scoped multiline flag", "write \\Z for the end instead")
        return "(?m:$)"

    def ranges(self, kind: str, value: Any, flags: int) -> Ranges:  # noqa: ANN401
        """The characters that a node for one character matches."""
        if kind == "ANY":
            return ((0, code_points.LAST),) if flags & re.DOTALL else complement(((10, 10),))
        if kind == "IN":
            return self.character_class(value, flags)
        if kind == "CATEGORY":
            return _category(str(value), flags)
        low, high = value if kind == "RANGE" else (value, value)
        found: Ranges = ((low, high),)
        if flags & re.IGNORECASE:
            found = code_points.either_case(found, ascii_only=bool(flags & re.ASCII))
        return complement(found) if kind == "NOT_LITERAL" else found

    def character_class(self, members: Any, flags: int) -> Ranges:  # noqa: ANN401
        negated = str(members[0][0]) == "NEGATE"
        union = merged(
            pair
            for kind, value in members[negated:]
            for pair in self.ranges(str(kind), value, flags)
        )
        return complement(union) if negated else union

    def characters(self, ranges: Ranges) -> str:
        ranges = without(ranges, code_points.SURROGATES)
        if self.replaces_newlines:
            newline = any(low <= 10 <= high for low, high in ranges)
            ranges = merged((*ranges, *_NEWLINES)) if newline else without(ranges, _NEWLINES)
        if not ranges:
            return rf"[^\x00-\x{{{code_points.LAST:X}}}]"
        if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
            return rf"\x{{{ranges[0][0]:X}}}"
        spans = [rf"\x{{{low:X}}}-\x{{{high:X}}}" for low, high in ranges]
        return f"[{''.join(spans)}]"

    def refused(self, construct: str, detail: str) -> InvalidRegexError:
        return InvalidRegexError(self.pattern, construct, detail)


def _category(name: str, flags: int) -> Ranges:
    kind = name.removeprefix("CATEGORY_").removeprefix("NOT_")
    found = _ASCII[kind] if flags & re.ASCII else _UNICODE[kind]()
    return complement(found) if "_NOT_" in name else found


_UNICODE = {
    "DIGIT": code_points.digits,
    "WORD": code_points.word_characters,
    "SPACE": code_points.spaces,
}
_ASCII: Mapping[str, Ranges] = {
    "DIGIT": ((48, 57),),
    "WORD": ((48, 57), (65, 90), (95, 95), (97, 122)),
    "SPACE": ((9, 13), (32, 32)),
}
