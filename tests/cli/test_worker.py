"""`tunesmith worker`: what it becomes."""

import os
import sys

import pytest

from tests.cli.conftest import Command


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines of the programs that the process would have become."""
    seen: list[list[str]] = []

    def become(program: str, arguments: list[str]) -> None:
        seen.append(arguments)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    return seen


@pytest.mark.parametrize("devices", ["0-3", "0,2"])
def test_a_train_worker_is_told_its_devices(
    tunesmith: Command, became: list[list[str]], devices: str
) -> None:
    tunesmith("worker", "--devices", devices)
    tunesmith("worker", "--queue", "prepare")
    tunesmith("worker", "--queue", "prepare", "--queue", "predict")

    module = [sys.executable, "-m", "worker.app", "--queue"]
    assert became == [
        [*module, "train", "--devices", devices],
        [*module, "prepare"],
        [*module, "prepare", "--queue", "predict"],
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--devices", "0-"), "--devices: '0-' is no list of devices; write numbers and ranges"),
        (("--devices", "3-0"), "'3-0' ends before it begins; write 0-3"),
        (("--devices", "0-1", "--queue", "predict"), "a predict worker owns none"),
    ],
)
def test_wrong_devices_are_named_with_what_would_be_right(
    tunesmith: Command, became: list[list[str]], arguments: tuple[str, ...], says: str
) -> None:
    code, _, err = tunesmith("worker", *arguments)

    assert code != 0
    assert says in " ".join(err.split())
    assert became == []
