"""The peers' numbers, read from tests/golden."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"
Case = dict[str, Any]
NOT_FINITE = {"NaN", "Infinity", "-Infinity"}


def cases(fixture: str, *kinds: str) -> list[Any]:
    """The cases of these kinds (all of them when none is named) as pytest parameters."""
    content = json.loads((GOLDEN / f"{fixture}.json").read_text(encoding="utf-8"))
    chosen = [case for case in content["cases"] if not kinds or case["kind"] in kinds]
    return [
        pytest.param(_numbers(case), id=case["id"].encode("unicode_escape").decode())
        for case in chosen
    ]


def _numbers(value: Any) -> Any:  # noqa: ANN401  (whatever JSON holds)
    if isinstance(value, Mapping):
        return {key: _numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return float(value) if isinstance(value, str) and value in NOT_FINITE else value
