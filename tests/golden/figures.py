"""The peers' numbers as parameters of tests; the one place that reads the files beside it."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


class Case(dict[str, Any]):
    """One recorded case, and the name of its file without the ending."""

    def __init__(self, file: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.file = file


def files() -> list[str]:
    """The names of all files, without the ending."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read(file: str) -> list[Case]:
    """Every case of a file, with numbers where the file has ``NaN`` or ``Infinity``."""
    content = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))
    return [Case(file, _numbers(fields)) for fields in content["cases"]]


def cases(file: str, *kinds: str, where: Callable[[Case], bool] = lambda case: True) -> list[Any]:
    """The cases of these kinds (all of them when none is named) as pytest parameters."""
    return [
        pytest.param(case, id=case["id"].encode("unicode_escape").decode())
        for case in read(file)
        if (not kinds or case["kind"] in kinds) and where(case)
    ]


def _numbers(value: Any) -> Any:  # noqa: ANN401  (whatever JSON holds)
    if isinstance(value, Mapping):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return float(value) if isinstance(value, str) and value in NOT_FINITE else value
