"""Keyset pages: every list has a limit, says whether there is more, and names the next page."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel

from api.problems import at

DEFAULT_LIMIT = 20
MAX_LIMIT = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for."""

    limit: int
    after: str | None

    def after_id(self, prefix: str) -> str | None:
        """The id that the page begins behind.

        Raises:
            Problem: it is no id of this kind.
        """
        if self.after is not None and not self.after.startswith(f"{prefix}_"):
            raise at(
                "/query/after",
                "validation_failed",
                f"after {self.after[:100]!r} is no cursor of this list; "
                f"use next_cursor or an id that begins with {prefix}_",
            )
        return self.after


async def get_page(
    limit: Annotated[
        int, Query(ge=1, le=MAX_LIMIT, description="entries on one page")
    ] = DEFAULT_LIMIT,
    after: Annotated[
        str | None,
        Query(max_length=2000, description="cursor or id that the page begins behind"),
    ] = None,
) -> Page:
    """The page that the query string asks for."""
    return Page(limit, after)


PageDep = Annotated[Page, Depends(get_page)]


def take(found: Sequence[T], limit: int) -> tuple[list[T], bool]:
    """The first ``limit`` of what a query for one more returned, and whether there was more."""
    return list(found[:limit]), len(found) > limit


def paged(request: Request, listing: BaseModel, next_cursor: str | None) -> Response:
    """The list as an answer, with a Link to the next page when there is one."""
    response = Response(listing.model_dump_json(), media_type="application/json")
    if next_cursor is not None:
        url = request.url.include_query_params(after=next_cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return response


def seal(position: Sequence[Any], bound_to: object) -> str:
    """An opaque cursor for a position in one particular ordering of one particular result."""
    text = json.dumps({"at": list(position), "of": _mark(bound_to)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def unseal(
    cursor: str, bound_to: object, *, fits: Callable[[Sequence[Any]], bool]
) -> Sequence[Any]:
    """The position in the cursor; ``fits`` tells whether one can be used.

    Raises:
        Problem: it is no cursor, or belongs to another sort, filter or result.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        content = json.loads(base64.urlsafe_b64decode(padded))
        position, mark = content["at"], content["of"]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError):
        raise _useless(cursor) from None
    if mark != _mark(bound_to) or not isinstance(position, list) or not fits(position):
        raise _useless(cursor)
    return position


def _mark(bound_to: object) -> str:
    return hashlib.sha256(json.dumps(bound_to, sort_keys=True).encode()).hexdigest()[:16]


def _useless(cursor: str) -> Exception:
    return at(
        "/query/after",
        "validation_failed",
        f"after {cursor[:100]!r} is no cursor of this list with this sort and these filters; "
        "begin again without it",
    )
