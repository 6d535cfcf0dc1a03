"""What the theory refuses.

TheoryError
 |- InvalidInputError    an argument is outside what the technique is defined for
 |- InvalidRegexError    a pattern cannot be read, or cannot run in linear time
 |- NoGroupError         a pattern lacks the capture group that should hold the label
 |- LabelsMismatchError  a dataset has labels that a model has no class for
 |- UnknownLabelError    a label is not in the vocabulary (also a KeyError)
"""

from collections.abc import Sequence
from dataclasses import dataclass


class TheoryError(ValueError):
    """An input that no technique of this package can work with."""


class InvalidInputError(TheoryError):
    """An argument lies outside what the technique is defined for; ``field`` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class InvalidRegexError(TheoryError):
    """A pattern is not a regular expression, or uses what linear-time matching cannot do.

    ``construct`` names the part that is refused, in plain words.
    """

    def __init__(self, pattern: str, construct: str, detail: str) -> None:
        super().__init__(f"the pattern {pattern!r} cannot be used: {detail}")
        self.pattern = pattern
        self.construct = construct


class NoGroupError(TheoryError):
    """A pattern has no such capture group, so nothing in it holds the label."""

    def __init__(self, pattern: str, group: int | str) -> None:
        super().__init__(
            f"the pattern {pattern!r} has no group {group!r}; put the label in brackets,"
            r" as in ^(.+)_\d+\.jpg$"
        )
        self.pattern = pattern
        self.group = group


@dataclass(frozen=True, slots=True)
class LabelMisfit:
    """A label of a dataset without a class of the model; ``near`` are names that may be meant."""

    label: str
    detail: str
    near: tuple[str, ...]


class LabelsMismatchError(TheoryError):
    """A dataset has labels that a model has no class for, and no mapping gives them one.

    ``misfits`` are the first of them, or the first entries of the mapping that lead nowhere.
    """

    def __init__(self, message: str, misfits: Sequence[LabelMisfit]) -> None:
        super().__init__(message)
        self.misfits = tuple(misfits)


class UnknownLabelError(TheoryError, KeyError):
    """A label to encode is not in the vocabulary."""

    def __init__(self, label: str) -> None:
        super().__init__(f"Label {label!r} was not included in the training dataset")
        self.label = label
