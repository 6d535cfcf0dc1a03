"""Files and functions stay small enough to be read in one sitting."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "worker", "jobs", "ml", "cli", "tunesmith_client")
MOST_LINES_OF_FILE, MOST_LINES_OF_BODY = 300, 40

LONG_FILES: dict[str, str] = {}
"""Files that may be longer, with the reason."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _files() -> Iterator[Path]:
    for package in PACKAGES:
        # a migration is a record of what was done; it is never edited, so it is not cut up either
        yield from (p for p in (ROOT / package).rglob("*.py") if "versions" not in p.parts)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Function):
            yield node


def _body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_no_file_is_longer_than_300_lines() -> None:
    long = {_name(p) for p in _files() if len(p.read_text().splitlines()) > MOST_LINES_OF_FILE}

    assert long == set(LONG_FILES)


def test_no_body_of_a_function_is_longer_than_40_lines() -> None:
    long = {
        f"{_name(path)}: {function.name}"
        for path in _files()
        for function in _functions(path)
        if _body_lines(function) > MOST_LINES_OF_BODY
    }

    assert long == set()


@pytest.mark.parametrize(("docstring", "lines"), [('    """Does."""\n', 2), ("", 2)])
def test_a_docstring_is_not_counted(docstring: str, lines: int) -> None:
    (function,) = ast.parse(f"def f():\n{docstring}    a = 1\n    return a\n").body

    assert isinstance(function, ast.FunctionDef)
    assert _body_lines(function) == lines
