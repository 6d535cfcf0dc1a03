"""Schemathesis asks the running stack what the OpenAPI document allows, and what it does not.

No answer may be a 5xx, have a status or a body that the document does not describe, or accept
what it forbids; what one answer made, the next requests use (links).
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def key(folder: Path, locked: Stack) -> str:
    """A key that may do everything."""
    return (folder / "locked" / "admin-key").read_text().strip()


@pytest.fixture(scope="module")
def locked(folder: Path, photos: Path) -> Iterator[Stack]:
    """A stack that asks for keys, however often."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TUNESMITH_AUTH", "keys")
        environment.setenv("TUNESMITH_RATE_LIMIT", "0")
        made = Stack(
            folder / "locked", port=0, dataset_roots=(photos.parent,), report=lambda _: None
        )
    with made as stack:
        stack.wait_until_ready()
        yield stack


def _asked(stack: Stack, key: str, folder: Path, *options: str) -> str:
    """What the tool says of a run that found nothing."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
        *(f"{stack.url}/openapi.json", "-H", f"Authorization: Bearer {key}", "--no-color"),
        *("--request-timeout", "60", "--warnings", "off", "--continue-on-failure", *options),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    # requests of megabytes are shown, too
    said = "\n".join(line[:300] for line in (ran.stdout + ran.stderr).splitlines())
    assert ran.returncode == 0, said
    return said


def test_a_short_run_finds_nothing(locked: Stack, key: str, tmp_path: Path) -> None:
    said = _asked(
        *(locked, key, tmp_path, "--phases", "examples,fuzzing,stateful"),
        *("--max-examples", "4", "--seed", "1"),
    )

    assert "Stateful" in said


@pytest.mark.fuzz
def test_a_long_run_finds_nothing(locked: Stack, key: str, tmp_path: Path) -> None:
    said = _asked(locked, key, tmp_path, "--max-examples", "100", "--max-time", "1200")

    assert "Stateful" in said
