"""Labels of files: by a regular expression in linear time, the parent folder, or a table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol

import re2

from ml.theory import code_points
from ml.theory.errors import InvalidInputError, InvalidRegexError, NoGroupError
from ml.theory.parts import folder_part
from ml.theory.regex_translation import INNER_NEWLINE, Translation, translate

Reason = Literal["no_match", "empty_label", "name_not_utf8", "no_parent_folder", "no_row"]
On = Literal["name", "path"]
Rule = Literal["regex", "parent_folder"]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A label, or the reason why there is none that can be used.

    ``empty_label`` keeps what Python's ``re`` gives: an empty string, or None for an absent group.
    """

    label: str | None
    reason: Reason | None

    @property
    def usable(self) -> str | None:
        """The label when it names a class, else None."""
        return self.label if self.reason is None else None


class Labeller(Protocol):
    """Anything that reads a label from a path."""

    def label(self, text: str) -> Labelled:
        """What this path is labelled."""
        ...


class RegexLabeller:
    r"""Reads a capture group, with the meaning of Python's ``re.search`` and time linear in a name.

    Python's meaning holds for ``\d``, ``\w``, ``$`` and the rest; RE2 does the matching.

    Args:
        pattern: a regular expression in Python's syntax.
        group: number or name of the group that holds the label.
        match: look at the start of the text only, as ``re.match``.

    Raises:
        InvalidRegexError: the pattern cannot be read, or needs a look-around, a backreference or
            another construct that has no linear-time match.
        NoGroupError: the pattern has no such group.
    """

    def __init__(self, pattern: str, *, group: int | str = 1, match: bool = False) -> None:
        translation = translate(pattern)
        self._number = _group_number(pattern, translation, group)
        self._compiled = _compiled(pattern, translation)
        self._find = self._compiled.match if match else self._compiled.search
        self._pattern = pattern
        self._translation = translation

    def label(self, text: str) -> Labelled:
        r"""The group's text in this name or path.

        Raises:
            InvalidRegexError: the pattern has a ``\b`` and the text a word character beyond ASCII,
                where RE2 sees a boundary that Python does not.
        """
        if not _is_utf8(text):
            return Labelled(None, "name_not_utf8")
        if self._translation.has_word_boundary:
            self._refuse_foreign_words(text)
        searched = _join_lines(text) if self._translation.replaces_newlines else text
        found = self._find(searched)
        if found is None:
            return Labelled(None, "no_match")
        start, end = found.span(self._number)
        label = text[start:end] if start >= 0 else None
        return Labelled(label, None if label else "empty_label")

    def _refuse_foreign_words(self, text: str) -> None:
        if any(ord(character) > 127 and character.isalnum() for character in text):
            raise InvalidRegexError(
                self._pattern, "word boundary", rf"\b cannot judge the letters of {text[:100]!r}"
            )


class ParentFolderLabeller:
    """The name of the folder that a file lies in."""

    def label(self, text: str) -> Labelled:
        """The last folder of this path; none for a bare file name."""
        if not _is_utf8(text):
            return Labelled(None, "name_not_utf8")
        folder = PurePosixPath(text).parent.name
        return Labelled(folder, None) if folder else Labelled(None, "no_parent_folder")


class ImageFolderLabeller(ParentFolderLabeller):
    """As `ParentFolderLabeller`, where the first folder may be a part of the split and no class."""

    def label(self, text: str) -> Labelled:
        """The last folder of this path; none for a file in the folder of a part itself."""
        if text.count("/") == 1 and folder_part(text) is not None:
            return Labelled(None, "no_parent_folder")
        return super().label(text)


class TableLabeller:
    """The label that is written down for a file.

    Args:
        look_up: takes a path to its label; None where nothing is written down.
    """

    def __init__(self, look_up: Callable[[str], str | None]) -> None:
        self._look_up = look_up

    def label(self, text: str) -> Labelled:
        """What is written down for this path."""
        if not _is_utf8(text):
            return Labelled(None, "name_not_utf8")
        label = self._look_up(text)
        if label is None:
            return Labelled(None, "no_row")
        return Labelled(label, None if label else "empty_label")


class NoLabeller:
    """Photos that have no labels, and need none."""

    def label(self, text: str) -> Labelled:
        """No label, and no reason to miss it."""
        return Labelled(None, None if _is_utf8(text) else "name_not_utf8")


class NameLabeller:
    """Gives another labeller the last part of a path only."""

    def __init__(self, inner: Labeller) -> None:
        self._inner = inner

    def label(self, text: str) -> Labelled:
        """What the file name is labelled."""
        return self._inner.label(PurePosixPath(text).name)


def make_labeller(
    rule: Rule, *, pattern: str | None = None, on: On = "name", group: int | str = 1
) -> Labeller:
    """The labeller of a dataset's label rule.

    Args:
        rule: how labels are read.
        pattern: the regular expression; needed for ``regex`` only.
        on: whether the pattern sees the file name or the whole path, with ``/`` between folders.
        group: the group that holds the label.

    Raises:
        InvalidInputError: ``regex`` without a pattern, or an unknown rule.
        InvalidRegexError, NoGroupError: as `RegexLabeller`.
    """
    if rule == "parent_folder":
        return ParentFolderLabeller()
    if rule != "regex":
        raise InvalidInputError("rule", f"the rule {rule!r} reads no names; use regex")
    if not pattern:
        raise InvalidInputError("pattern", "the rule regex needs a pattern")
    labeller = RegexLabeller(pattern, group=group)
    return NameLabeller(labeller) if on == "name" else labeller


def _group_number(pattern: str, translation: Translation, group: int | str) -> int:
    if isinstance(group, str):
        if group not in translation.group_names:
            raise NoGroupError(pattern, group)
        return translation.group_names[group]
    if not 0 <= group <= translation.num_groups:
        raise NoGroupError(pattern, group)
    return group


def _compiled(pattern: str, translation: Translation) -> Any:  # noqa: ANN401  (re2 has no types)
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(translation.re2_pattern, options)
    except re2.error as error:
        raise InvalidRegexError(
            pattern, "size", "it is too large to match in bounded memory; use smaller repeats"
        ) from error


def _is_utf8(text: str) -> bool:
    low, high = code_points.SURROGATES[0]
    return text.isascii() or not any(low <= ord(character) <= high for character in text)


def _join_lines(text: str) -> str:
    """Replaces every newline but a last one."""
    return text[:-1].replace("\n", INNER_NEWLINE) + text[-1:]
