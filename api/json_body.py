"""Bodies read strictly: UTF-8, no name twice in one object, no deeper than can be checked."""

import json
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

NOWHERE = -1
"""Position of an error that has no one place in the text."""


class StrictRoute(APIRoute):
    """A route whose body is read by `parse`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given a request that reads its body strictly."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strict


class _StrictRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401  (whatever the client sent)
        return parse(await self.body())


def parse(body: bytes) -> Any:  # noqa: ANN401  (whatever the client sent)
    """The JSON value.

    Of two fields with one name a lenient reader would keep the last and forget the other; and
    not every database can keep the character U+0000.

    Raises:
        json.JSONDecodeError: it is none that can be used; the message says why.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as wrong:
        raise json.JSONDecodeError("it is not encoded in UTF-8", "", wrong.start) from wrong
    try:
        return json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError:
        raise
    except RecursionError as wrong:
        raise json.JSONDecodeError("it is nested too deeply", "", NOWHERE) from wrong
    except ValueError as wrong:
        raise json.JSONDecodeError("a number has too many digits", "", NOWHERE) from wrong


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        message = f"the field {json.dumps(twice)[:100]} is given twice in one object"
        raise json.JSONDecodeError(message, "", NOWHERE)
    for name, value in pairs:
        if "\0" in name or (isinstance(value, str) and "\0" in value):
            message = f"the field {json.dumps(name)[:100]} holds the character U+0000"
            raise json.JSONDecodeError(message, "", NOWHERE)
    return found
