"""A running stack without any data."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import Stack


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """The embedded stack on an empty folder."""
    with (
        tempfile.TemporaryDirectory(prefix="tunesmith-") as folder,
        Stack(Path(folder), port=0, dataset_roots=(), report=print) as stack,
    ):
        stack.wait_until_ready()
        yield stack
