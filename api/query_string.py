"""Parameters of the query string: one that an operation does not have is refused, not ignored."""

import difflib
import re
from typing import Any

from fastapi import Request

from api.problems import FieldProblem, Problem

_SHOWN_CHARACTERS = 100
_ENTRY = re.compile(r"([a-z_]+)\[.{1,64}\]", re.DOTALL)
"""One entry of an object, as in ``metadata[owner]``."""


async def refuse_unknown(request: Request) -> None:
    """Every parameter of the query string is one that the documentation gives the operation.

    Raises:
        Problem: one is not; its close relatives are named.
    """
    if not request.query_params:
        return
    known = _parameters(request)
    strange = [name for name in request.query_params if not _is_among(name, known)]
    if strange:
        errors = [_problem(name, sorted(known)) for name in dict.fromkeys(strange)]
        raise Problem("validation_failed", errors[0].detail, errors=errors)


def _parameters(request: Request) -> dict[str, dict[str, Any]]:
    """The operation's parameters by their names."""
    paths = request.app.openapi()["paths"]
    operation = paths[request.scope["route"].path][request.method.lower()]
    return {
        parameter["name"]: parameter
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
    }


def _is_among(name: str, known: dict[str, dict[str, Any]]) -> bool:
    if name in known:
        return True
    entry = _ENTRY.fullmatch(name)
    return entry is not None and known.get(entry[1], {}).get("style") == "deepObject"


def _problem(name: str, known: list[str]) -> FieldProblem:
    shown = name[:_SHOWN_CHARACTERS]
    return FieldProblem(
        pointer=f"/query/{shown.replace('~', '~0').replace('/', '~1')}",
        code="unknown_parameter",
        detail=f"there is no parameter {shown!r} here",
        allowed=tuple(known),
        did_you_mean=tuple(difflib.get_close_matches(shown, known, n=3)) or None,
    )
