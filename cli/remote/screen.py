"""Where commands write: results to standard output, everything else to standard error."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.measure import Measurement

from tunesmith_client.resources import Resource

_WIDE = 1000
"""Columns where nobody looks: a program that reads a table wants its lines whole."""


class Screen:
    """What a command says, for people or, ``as_json``, for programs."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out = _console()
        self.err = _console(stderr=True)

    def answer(self, body: Any, shown: RenderableType) -> None:  # noqa: ANN401 - any JSON
        """The result: ``body`` for programs, ``shown`` for people."""
        if self.as_json:
            self.line(body)
        else:
            self.show(shown)

    def listing(self, found: Sequence[Resource], shown: RenderableType) -> None:
        """A list: one JSON array for programs, ``shown`` for people."""
        self.answer([each.json_body() for each in found], shown)

    def show(self, shown: RenderableType) -> None:
        """What people see of a result; texts are not taken for markup, nor broken into lines."""
        # a terminal that is too narrow for an id breaks its line; cut it would be worth nothing
        needed = Measurement.get(self.out, self.out.options, shown).minimum
        out = self.out if needed <= self.out.width else Console(width=needed)
        out.print(shown, highlight=False, markup=False, soft_wrap=isinstance(shown, str))

    def line(self, body: Any) -> None:  # noqa: ANN401 - any JSON
        """One JSON document on one line of standard output, at once."""
        sys.stdout.write(json.dumps(body, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """What happens meanwhile, on standard error."""
        self.err.print(text, markup=False, highlight=False, soft_wrap=True)


def _console(*, stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_WIDE)
