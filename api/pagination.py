"""Keyset pages: every list has a limit, says whether there is more, and names the next page.

A cursor is signed by the installation, and belongs to one list with its sort and its filters.
"""

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel

from api.dependencies import ServicesDep
from api.problems import at
from api.services import Services
from jobs import cursor_keys
from jobs.cursor_keys import CursorKey

DEFAULT_LIMIT = 20
MAX_LIMIT = 200
_NO_FILTERS = {"limit", "after", "expand"}
"""Parameters that change neither which entries a list has nor their order."""

_CURSOR = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{22}")
"""What is packed and a signature of 16 bytes; entries that are files have a shorter ending."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for; ``is_signed`` when by a cursor, not by an entry's id."""

    limit: int
    after: str | None
    is_signed: bool = False

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


def get_page(
    request: Request,
    services: ServicesDep,
    # no default in the document: its page would send it, also where a file is asked for, not a page
    limit: Annotated[
        int | None,
        Query(ge=1, le=MAX_LIMIT, description=f"entries on one page, usually {DEFAULT_LIMIT}"),
    ] = None,
    after: Annotated[
        str | None,
        Query(max_length=4000, description="cursor or id that the page begins behind"),
    ] = None,
) -> Page:
    """The page that the query string asks for.

    Raises:
        Problem: the cursor is none of this installation's, or of another list.
    """
    entries = DEFAULT_LIMIT if limit is None else limit
    if after is None or not _CURSOR.fullmatch(after):
        return Page(entries, after)
    return Page(entries, _opened(after, request, services), is_signed=True)


PageDep = Annotated[Page, Depends(get_page)]


def take(found: Sequence[T], limit: int) -> tuple[list[T], bool]:
    """The first ``limit`` of what a query for one more returned, and whether there was more."""
    return list(found[:limit]), len(found) > limit


def take_names(names: Sequence[str], page: Page) -> tuple[list[str], str | None]:
    """The names of a page out of all, which are few, and the one that the next page begins behind.

    Raises:
        Problem: the page begins behind a name that is not among them.
    """
    if page.after is not None and page.after not in names:
        detail = f"after {page.after[:100]!r} is not in this list"
        raise at("/query/after", "validation_failed", detail, allowed=list(names))
    first = 0 if page.after is None else names.index(page.after) + 1
    shown, has_more = take(names[first:], page.limit)
    return shown, shown[-1] if has_more else None


def paged(request: Request, listing: BaseModel, position: str | None) -> Response:
    """The list as an answer, with a cursor and a Link to the next page when there is one."""
    if position is None:
        return Response(listing.model_dump_json(), media_type="application/json")
    cursor = _signed(position, request)
    body = listing.model_copy(update={"next_cursor": cursor}).model_dump_json()
    url = request.url.include_query_params(after=cursor)
    link = f'<{url.path}?{url.query}>; rel="next"'
    return Response(body, media_type="application/json", headers={"Link": link})


def seal(position: Sequence[Any], bound_to: object) -> str:
    """A position in one particular ordering of one particular result, as text."""
    return json.dumps({"at": list(position), "of": _mark(bound_to)}, separators=(",", ":"))


def unseal(
    page: Page, bound_to: object, *, fits: Callable[[Sequence[Any]], bool]
) -> Sequence[Any] | None:
    """The position that the page begins behind; ``fits`` tells whether one can be used.

    Raises:
        Problem: it is not from a cursor, or belongs to another result.
    """
    if page.after is None:
        return None
    if not page.is_signed:
        raise _useless(page.after)
    content = json.loads(page.after)
    if content["of"] != _mark(bound_to) or not fits(content["at"]):
        raise _useless(page.after)
    position: Sequence[Any] = content["at"]
    return position


def _signed(position: str, request: Request) -> str:
    key = cursor_keys.signing(request.app.state.services.database)
    content = json.dumps([key.id, position, _mark(_list_of(request))], separators=(",", ":"))
    return f"{_packed(content.encode())}.{_packed(_signature(key, content))}"


def _opened(cursor: str, request: Request, services: Services) -> str:
    text, _, signature = cursor.partition(".")
    try:
        content = _unpacked(text).decode()
        key_id, position, mark = json.loads(content)
        signed = _unpacked(signature)
    except (ValueError, TypeError, RecursionError):
        raise _useless(cursor) from None
    key = cursor_keys.find(services.database, key_id) if isinstance(key_id, str) else None
    if key is None:
        raise _useless(cursor, "was signed by a key that has expired, or by another installation")
    if not hmac.compare_digest(signed, _signature(key, content)):
        raise _useless(cursor, "was changed since it was given out")
    if mark != _mark(_list_of(request)):
        raise _useless(cursor)
    return str(position)


def _list_of(request: Request) -> object:
    """What a cursor belongs to: the list and everything that chooses and orders its entries."""
    chosen = request.query_params.multi_items()
    return [request.url.path, sorted(pair for pair in chosen if pair[0] not in _NO_FILTERS)]


def _signature(key: CursorKey, content: str) -> bytes:
    """HMAC-SHA-256 (RFC 2104), cut to 128 bits."""
    return hmac.digest(key.secret, content.encode(), "sha256")[:16]


def _packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _mark(bound_to: object) -> str:
    return hashlib.sha256(json.dumps(bound_to, sort_keys=True).encode()).hexdigest()[:16]


def _useless(
    cursor: str, reason: str = "is no cursor of this list with this sort and these filters"
) -> Exception:
    detail = f"after {cursor[:100]!r} {reason}; begin again without it"
    return at("/query/after", "validation_failed", detail)
