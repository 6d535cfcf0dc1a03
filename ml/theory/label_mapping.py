"""Which class of a model each label of a foreign dataset is scored as.

A dataset may know fewer labels than the model: classes without photos are only never right.
A label that the model does not know has no probability, hence no cross-entropy, until somebody
says which class stands for it.
"""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence

from ml.theory.errors import LabelMisfit, LabelsMismatchError
from ml.theory.label_report import spelling

NAMED = 5
"""Labels that a message names; of more it tells the number."""

_COMPARED_CHARACTERS = 100

LabelMapping = Mapping[str, str | None]


def scored_as(
    photos: Mapping[str, int], classes: Sequence[str], mapping: LabelMapping
) -> dict[str, str | None]:
    """The class that each label of a dataset is scored as; None leaves its photos out.

    Args:
        photos: label of the dataset to its number of photos.
        classes: what the model tells apart.
        mapping: label to class or None; a label that is a class needs no entry, several labels
            may have one class.

    Raises:
        LabelsMismatchError: a label has no class, or an entry names no label or no class.
    """
    check_entries(classes, mapping)
    strangers = sorted(mapping.keys() - photos.keys())
    if strangers:
        raise LabelsMismatchError(
            f"label_mapping names {_named(strangers)}, which the dataset does not have; "
            f"it has {_named(sorted(photos))}",
            [LabelMisfit(name, "the dataset has no such label", near(name, photos))
             for name in strangers[:NAMED]],
        )  # fmt: skip
    class_of: dict[str, str | None] = {label: label for label in photos.keys() & set(classes)}
    class_of.update(mapping)
    unknown = {label: photos[label] for label in photos.keys() - class_of.keys()}
    if unknown:
        raise _no_class(unknown, class_of, classes)
    return class_of


def check_entries(classes: Sequence[str], mapping: LabelMapping) -> None:
    """Every entry leads to a class of the model or leaves photos out.

    Raises:
        LabelsMismatchError: one does neither.
    """
    known = set(classes)
    wrong = sorted(
        (label, to) for label, to in mapping.items() if to is not None and to not in known
    )
    if wrong:
        strangers = sorted({to for _, to in wrong})
        raise LabelsMismatchError(
            f"label_mapping maps to {_named(strangers)}, which the model does not know; "
            f"it knows {_named(classes)}",
            [LabelMisfit(label, f"the model has no class {to!r}", near(to, classes))
             for label, to in wrong[:NAMED]],
        )  # fmt: skip


def near(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """At most three names like this one, the likest first; case and separators matter little."""
    by_spelling = {spelling(each)[:_COMPARED_CHARACTERS]: each for each in reversed(sorted(names))}
    found = difflib.get_close_matches(spelling(name)[:_COMPARED_CHARACTERS], by_spelling, n=3)
    return tuple(by_spelling[each] for each in found)


def _no_class(
    unknown: Mapping[str, int], placed: LabelMapping, classes: Sequence[str]
) -> LabelsMismatchError:
    reached = set(placed.values())
    idle = [name for name in classes if name not in reached]
    missing = f"; no label of the dataset is its {_named(idle)}" if idle else ""
    misfits = [
        LabelMisfit(label, f"no class for {_photos(unknown[label])}", near(label, classes))
        for label in sorted(unknown)[:NAMED]
    ]
    first = misfits[0]
    example = json.dumps({first.label: [*first.near, *idle, *classes][0]}, ensure_ascii=False)
    return LabelsMismatchError(
        f"the model does not know {_counted(unknown)} of the dataset{missing}; say what each is "
        f"scored as, as in label_mapping {example}, or null to leave its photos out",
        misfits,
    )


def _counted(unknown: Mapping[str, int]) -> str:
    shown = [f"{label!r} ({_photos(unknown[label])})" for label in sorted(unknown)[:NAMED]]
    rest = sorted(unknown)[NAMED:]
    if rest:
        shown.append(f"{len(rest)} more ({_photos(sum(unknown[label] for label in rest))})")
    return ", ".join(shown)


def _photos(count: int) -> str:
    return f"{count} photo" if count == 1 else f"{count} photos"


def _named(labels: Sequence[str]) -> str:
    more = len(labels) - NAMED
    shown = ", ".join(repr(label) for label in labels[:NAMED])
    return f"{shown} and {more} more" if more > 0 else shown
