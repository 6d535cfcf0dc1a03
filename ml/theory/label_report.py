"""What a label rule makes of a list of names: labels, counts, misses, near-duplicates, a repair."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal
from unicodedata import normalize

from ml.theory.label_repair import Hint, find_hint
from ml.theory.labels import Labelled, On, Rule, make_labeller

MOST_COMPARED = 2000
SHORTEST_COMPARED = 5
LONGEST_COMPARED = 200


@dataclass(frozen=True, slots=True)
class LabelItem:
    """One name with its label, or with the reason why it has none."""

    name: str
    label: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class LabelCount:
    """A class and how many names carry it."""

    label: str
    count: int


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two or more labels that may be one class: ``spelling`` (case, separators) or ``one_edit``."""

    labels: tuple[str, ...]
    kind: Literal["spelling", "one_edit"]


@dataclass(frozen=True, slots=True)
class LabelsExplanation:
    """Items in the order given; classes in code-point order; ``hint`` is tried before offered."""

    items: tuple[LabelItem, ...]
    classes: tuple[LabelCount, ...]
    matched: int
    unmatched: int
    near_duplicates: tuple[NearDuplicate, ...]
    hint: Hint | None


def explain_labels(
    names: Sequence[str],
    *,
    rule: Rule = "regex",
    pattern: str | None = None,
    on: On = "name",
    group: int | str = 1,
) -> LabelsExplanation:
    """Everything a label rule does to these names; arguments as in `make_labeller`.

    Raises:
        InvalidInputError, InvalidRegexError, NoGroupError: as `make_labeller`.
    """
    labeller = make_labeller(rule, pattern=pattern, on=on, group=group)
    found = [labeller.label(name) for name in names]
    hint = find_hint(names, found, pattern=pattern, on=on, group=group)
    return report_labels(names, found, hint)


def report_labels(
    names: Sequence[str], found: Sequence[Labelled], hint: Hint | None = None
) -> LabelsExplanation:
    """Everything that labels which were read already say of these names."""
    counts = Counter(each.usable for each in found if each.usable is not None)
    classes = tuple(LabelCount(label, counts[label]) for label in sorted(counts))
    matched = counts.total()
    return LabelsExplanation(
        items=tuple(_item(name, each) for name, each in zip(names, found, strict=True)),
        classes=classes,
        matched=matched,
        unmatched=len(names) - matched,
        near_duplicates=near_duplicates(counts),
        hint=hint,
    )


def near_duplicates(labels: Iterable[str]) -> tuple[NearDuplicate, ...]:
    """Labels that differ in case, separators or a single letter only.

    Labels that differ in digits are different classes. Single edits are looked for among labels
    of 5 to 200 letters, and not among more than 2,000 labels.
    """
    by_spelling: dict[str, list[str]] = {}
    for label in sorted(set(labels)):
        by_spelling.setdefault(spelling(label), []).append(label)
    same = [NearDuplicate(tuple(group), "spelling") for group in by_spelling.values() if group[1:]]
    if len(by_spelling) > MOST_COMPARED:
        return tuple(same)
    edits = [
        NearDuplicate((by_spelling[one][0], by_spelling[other][0]), "one_edit")
        for one, other in _one_edit_apart(by_spelling)
    ]
    return (*same, *edits)


def _item(name: str, found: Labelled) -> LabelItem:
    return LabelItem(name, found.usable, found.reason)


def spelling(label: str) -> str:
    """The label without case, separators and forms of writing; itself where nothing is left."""
    folded = normalize("NFKC", label).casefold()
    return "".join(character for character in folded if character.isalnum()) or folded


def _one_edit_apart(spellings: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs that one letter added, dropped, changed or swapped makes equal.

    Such pairs, and few others, share a form with one letter dropped.
    """
    by_form: dict[str, list[str]] = {}
    for spelling in spellings:
        if SHORTEST_COMPARED <= len(spelling) <= LONGEST_COMPARED:
            for form in {spelling, *_each_letter_dropped(spelling)}:
                by_form.setdefault(form, []).append(spelling)
    pairs = {pair for sharing in by_form.values() for pair in combinations(sorted(sharing), 2)}
    return sorted((one, other) for one, other in pairs if _digits(one) == _digits(other))


def _each_letter_dropped(spelling: str) -> Iterable[str]:
    return (spelling[:at] + spelling[at + 1 :] for at in range(len(spelling)))


def _digits(spelling: str) -> str:
    return "".join(character for character in spelling if character.isdigit())
