"""Which test recomputes which recorded case, and whether it would see a figure change."""

import contextlib
import importlib
import inspect
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.golden.figures import FOLDER, Case

TESTS = FOLDER.parent
NOT_FIGURES = {"id", "kind", "produced_by", "description", "note", "message"}
"""What a case says of itself, in words."""

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class GoldenTest:
    """A test marked ``golden`` and the cases that it is given."""

    name: str
    function: Callable[..., None]
    cases: tuple[Case, ...]

    @property
    def fixtures(self) -> list[str]:
        """The names of what else it needs."""
        return [name for name in inspect.signature(self.function).parameters if name != "case"]

    @property
    def can_run_again(self) -> bool:
        """Whether all that it needs beside a case is at hand everywhere."""
        return set(self.fixtures) <= {"tmp_path", "monkeypatch"}


def golden_tests() -> list[GoldenTest]:
    """Every test marked ``golden``, as its marks tell; there is no list to keep."""
    paths = sorted(TESTS.rglob("test_*.py"), reverse=True)  # the theory's, which are quick, first
    marked = [path for path in paths if _MARK in path.read_text()]
    return [test for path in marked for test in _tests_of(path)]


_MARK = "@pytest.mark.golden\n"


def _tests_of(path: Path) -> Iterator[GoldenTest]:
    name = ".".join(path.relative_to(TESTS.parent).with_suffix("").parts)
    for function in vars(importlib.import_module(name)).values():
        marks = getattr(function, "pytestmark", []) if callable(function) else []
        names = {mark.name for mark in marks}
        if "golden" in names and not names & {"skip", "skipif", "xfail"}:
            given = [mark.args[1] for mark in marks if mark.args[:1] == ("case",)]
            cases = tuple(parameter.values[0] for each in given for parameter in each)
            yield GoldenTest(f"{path.stem}::{function.__name__}", function, cases)


def places(value: Any, above: Place = ()) -> Iterator[Place]:  # noqa: ANN401  (whatever JSON holds)
    """Where the figures of a case are: the keys and indices that lead to each."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in NOT_FIGURES:
                yield from places(inner, (*above, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*above, index))
    else:
        yield above


def field(place: Place) -> str:
    """The place without its indices: what all elements of a list share."""
    return ".".join(key for key in place if isinstance(key, str))


def one_place_of_each_field(case: Case) -> dict[str, Place]:
    """A place for each field of the case, drawn among the elements by the case's name."""
    fields: dict[str, list[Place]] = {}
    for place in places(case):
        fields.setdefault(field(place), []).append(place)
    rng = random.Random(case["id"])  # noqa: S311  (not a secret)
    return {name: rng.choice(found) for name, found in fields.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """How much a number is changed: by a share of it, or of ``at_least`` where that is more."""

    share: float
    at_least: float = 1e-30

    def of(self, figure: Any) -> Any:  # noqa: ANN401  (whatever JSON holds)
        """Another figure of the same kind."""
        if isinstance(figure, bool):
            return not figure
        if isinstance(figure, str):
            return f"{figure}'"
        if isinstance(figure, int):
            return figure + max(1, round(self.share))
        if figure is None or not math.isfinite(figure):
            return 0.5
        return figure + self.share * (max(abs(figure), self.at_least) if figure else 1.0)


def changed(case: Case, place: Place, change: Change) -> Case:
    """The case with another figure at this place."""
    return Case(case.file, _replaced(dict(case), place, change))


def _replaced(value: Any, place: Place, change: Change) -> Any:  # noqa: ANN401  (whatever JSON holds)
    if not place:
        return change.of(value)
    copy = value.copy()
    copy[place[0]] = _replaced(value[place[0]], place[1:], change)
    return copy


def passes(test: GoldenTest, case: Case, request: pytest.FixtureRequest) -> bool:
    """Whether the test holds for this case, as far as it can be run again."""
    if not test.can_run_again:
        return True
    fixtures = {name: request.getfixturevalue(name) for name in test.fixtures}
    try:
        # whatever a figure that is wrong leads to, the test would be red
        with contextlib.suppress(Exception, pytest.fail.Exception):
            test.function(case=case, **fixtures)
            return True
    except pytest.skip.Exception:
        return True
    return False
