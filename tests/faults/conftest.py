"""Folders, sizes and installations for the tests of faults."""

import os
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.artifacts import Artifacts
from tests.faults.installation import QUICK, Installation, Roster, installed

Start = Callable[..., Installation]

DISK_MIB = 64


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of a row is done: a little in the ordinary suite, all of it with ``--faults``."""

    is_full: bool

    def of(self, little: int, all_of_it: int) -> int:
        """The number that this run wants."""
        return all_of_it if self.is_full else little


@pytest.fixture(
    params=[
        pytest.param(False, id="short"),
        pytest.param(True, id="full", marks=[pytest.mark.faults, pytest.mark.timeout(3600)]),
    ]
)
def scale(request: pytest.FixtureRequest) -> Scale:
    """The size of the run."""
    return Scale(request.param)


@pytest.fixture
def chance() -> random.Random:
    """What draws victims and moments; the seed is told, and may be given."""
    seed = int(os.environ.get("TUNESMITH_TEST_SEED", "1"))  # noqa: TID251 - the test's own
    print(f"seed {seed}: TUNESMITH_TEST_SEED")  # noqa: T201 - shown when the test fails
    return random.Random(seed)  # noqa: S311 - nothing secret


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a unix socket has to fit."""
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A small disk of its own for the artifacts."""
    place = folder / "artifacts"
    place.mkdir()
    mount = ["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    # processes of the installation end after this, and may have files open still
    subprocess.run(["/bin/umount", "--lazy", str(place)], check=True)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """Starts an installation with quick leases; it has ended after the test."""
    with ExitStack() as running:

        def begin(roster: Roster | None = None, **changes: object) -> Installation:
            (folder / "photos").mkdir(exist_ok=True)
            return running.enter_context(installed(folder, roster, **{**QUICK, **changes}))

        yield begin


def artifacts_of(installation: Installation) -> Artifacts:
    """Where the installation keeps its files."""
    return Artifacts(installation.settings.artifacts)
