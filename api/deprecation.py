"""What is to go says so beforehand: `Deprecation` (RFC 9745), `Sunset` (RFC 8594), and a link.

The one place for it: ``@router.get("/old", **going(since=…, sunset=…, see=…))``.
"""

from datetime import datetime
from email.utils import format_datetime
from typing import Any

from fastapi import Depends, Request
from starlette.types import Scope

_STATE = "deprecation"


def going(*, since: datetime, sunset: datetime, see: str) -> dict[str, Any]:
    """Arguments for a route that is to go: it says so in every answer and in the document.

    Args:
        since: from when on clients should not use it, in UTC.
        sunset: when it stops to answer, in UTC.
        see: address of a page that tells what to use instead.

    Raises:
        ValueError: it would stop before it was deprecated.
    """
    if sunset < since:
        raise ValueError(f"the sunset {sunset} is before the deprecation {since}")
    headers = [
        ("Deprecation", f"@{int(since.timestamp())}"),
        ("Sunset", format_datetime(sunset, usegmt=True)),
        ("Link", f'<{see}>; rel="deprecation"; type="text/html"'),
    ]

    async def tell(request: Request) -> None:
        setattr(request.state, _STATE, headers)

    return {"deprecated": True, "dependencies": [Depends(tell)]}


def headers_of(scope: Scope) -> list[tuple[str, str]]:
    """The headers of an answer to this request; none where nothing is to go."""
    found: list[tuple[str, str]] = scope["state"].get(_STATE, [])
    return found
