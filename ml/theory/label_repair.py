"""A label rule that reads the names which the present one misses, tried before it is offered."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ml.theory.errors import TheoryError
from ml.theory.labels import Labelled, Labeller, On, Rule, make_labeller

MOST_EXTENSIONS = 8
MOST_RANKED_ON = 2000
_EXTENSION_AT_END = re.compile(r"(?:\\?\.|\[\.\])(?:\((?:\?:)?)?([A-Za-z?|]+)\)?\$?$")
_NUMBERED = r"^(.+?)[ _.-]*\(?\d+\)?\.[A-Za-z0-9]+$"


@dataclass(frozen=True, slots=True)
class Hint:
    """A rule that labels ``fixes`` of the missed names and no labelled one differently.

    ``pattern``, ``on`` and ``group`` are None for ``parent_folder``; ``remaining`` names would
    still have no label.
    """

    message: str
    rule: Rule
    pattern: str | None
    on: On | None
    group: int | str | None
    fixes: int
    remaining: int


@dataclass(frozen=True, slots=True)
class _Candidate:
    rule: Rule
    pattern: str | None
    on: On | None
    group: int | str | None

    def labeller(self) -> Labeller | None:
        """The candidate at work; None when it is no rule at all."""
        try:
            return make_labeller(
                self.rule, pattern=self.pattern, on=self.on or "name", group=self.group or 1
            )
        except TheoryError:
            return None


def find_hint(
    names: Sequence[str],
    found: Sequence[Labelled],
    *,
    pattern: str | None,
    on: On,
    group: int | str,
) -> Hint | None:
    """The first of the likely repairs that labels the most missed names; None when none helps.

    A repair that gives a different label to a name that has one already is never offered.

    Args:
        names: what was labelled.
        found: what the present rule made of each name.
        pattern: the present pattern; None when the rule is ``parent_folder``.
        on: what the pattern sees.
        group: the group that holds the label.
    """
    misses = [name for name, each in zip(names, found, strict=True) if each.usable is None]
    if not misses:
        return None
    sample = misses[:: -(-len(misses) // MOST_RANKED_ON)]
    candidates = _candidates(misses, pattern=pattern, on=on, group=group)
    likely = [(_labelled_by(candidate, sample), candidate) for candidate in candidates]
    for count, candidate in sorted(likely, key=lambda each: -each[0]):
        fixes = _fixes(candidate, names, found) if count else 0
        if fixes:
            return _hint(fixes, candidate, misses)
    return None


def _candidates(
    misses: Sequence[str], *, pattern: str | None, on: On, group: int | str
) -> Iterator[_Candidate]:
    """Repairs, the smallest change first."""
    if pattern:
        for repaired in dict.fromkeys(_repaired(pattern, misses)):
            yield _Candidate("regex", repaired, on, group)
        yield _Candidate("regex", pattern, "path" if on == "name" else "name", group)
        yield _Candidate("parent_folder", None, None, None)
    yield _Candidate("regex", _NUMBERED, "name", 1)


def _repaired(pattern: str, misses: Sequence[str]) -> Iterator[str]:
    yield f"(?i){pattern}"
    extended = _with_extensions(pattern, misses)
    loose = re.sub(r"(?<![\[\\])_(?!\])", "[ _-]*", pattern)
    yield extended
    yield f"(?i){extended}"
    yield loose
    yield f"(?i){_with_extensions(loose, misses)}"


def _with_extensions(pattern: str, misses: Sequence[str]) -> str:
    """The pattern ending in any of its own and the missed names' extensions."""
    end = _EXTENSION_AT_END.search(pattern)
    if end is None:
        return pattern
    own = end.group(1).split("|")
    seen = Counter(PurePosixPath(name).suffix[1:] for name in misses)
    others = [each for each, _ in seen.most_common(MOST_EXTENSIONS) if each.isalnum()]
    either = "|".join(dict.fromkeys([*own, *others]))
    return rf"{pattern[: end.start()]}\.(?:{either})$"


def _labelled_by(candidate: _Candidate, names: Sequence[str]) -> int:
    """How many of the names the candidate labels."""
    labeller = candidate.labeller()
    return sum(_label(labeller, name) is not None for name in names) if labeller else 0


def _fixes(candidate: _Candidate, names: Sequence[str], found: Sequence[Labelled]) -> int:
    """How many missed names the candidate labels; 0 when it changes a label."""
    labeller = candidate.labeller()
    if labeller is None:
        return 0
    fixes = 0
    for name, each in zip(names, found, strict=True):
        label = _label(labeller, name)
        if each.usable is not None and label != each.usable:
            return 0
        fixes += each.usable is None and label is not None
    return fixes


def _label(labeller: Labeller, name: str) -> str | None:
    try:
        return labeller.label(name).usable
    except TheoryError:  # a pattern that cannot judge this name does not label it
        return None


def _hint(fixes: int, candidate: _Candidate, misses: Sequence[str]) -> Hint:
    advice = (
        "try the rule parent_folder"
        if candidate.rule == "parent_folder"
        else f"try {candidate.pattern} on the {candidate.on}"
    )
    return Hint(
        message=f"{_what_they_share(misses)}; {advice}: it labels {fixes} of them",
        rule=candidate.rule,
        pattern=candidate.pattern,
        on=candidate.on,
        group=candidate.group,
        fixes=fixes,
        remaining=len(misses) - fixes,
    )


def _what_they_share(misses: Sequence[str]) -> str:
    suffix, count = Counter(PurePosixPath(name).suffix for name in misses).most_common(1)[0]
    noun = "name has" if len(misses) == 1 else "names have"
    if not suffix:
        return f"{len(misses)} {noun} no label"
    return f"{len(misses)} {noun} no label, {count} of them ending in {suffix}"
