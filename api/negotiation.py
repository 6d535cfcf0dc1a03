"""Which representation a client accepts, and whether it holds the newest one already."""

import re
from collections.abc import Sequence
from typing import Annotated

from fastapi import Header, Request

from api.problems import Problem

# a file of a quintillion bytes is as far as a Range can be meant
_RANGE = re.compile(r"[0-9]{1,18}-[0-9]{0,18}|-[0-9]{1,18}")
_VERSION = re.compile(r'"v([0-9]{1,18})"')

IfNoneMatch = Annotated[
    str | None, Header(description="the ETag of the newest known answer; 304 if it still is")
]
IfMatch = Annotated[
    str | None,
    Header(description='the version to edit, as in "v1"; 412 if it is another', examples=['"v1"']),
]
Prefer = Annotated[
    str | None,
    Header(description="wait=30 holds the answer until the state changes, or for 30 s"),
]


def chosen_type(request: Request, offered: Sequence[str]) -> str:
    """The offered media type that the request likes best; the first without a wish.

    Raises:
        Problem: it accepts none of them.
    """
    header = request.headers.get("accept", "*/*")
    wishes = [_wish(part) for part in header.split(",") if part.strip()]
    rated = [(max((q for r, q in wishes if _fits(t, r)), default=0.0), t) for t in offered]
    best = max((quality for quality, _ in rated), default=0.0)
    if best <= 0:
        detail = f"Accept is {header[:100]!r}; this is sent as {' or '.join(offered)}"
        raise Problem("not_acceptable", detail)
    named = {media_range for media_range, quality in wishes if quality == best}
    candidates = [media_type for quality, media_type in rated if quality == best]
    return next((t for t in candidates if t in named), candidates[0])


def holds_newest(if_none_match: str | None, etag: str) -> bool:
    """Whether If-None-Match names this entity tag, compared weakly."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


def expected_version(if_match: str | None) -> int | None:
    """The version that If-Match names; None when any will do.

    Raises:
        Problem: it names something that can be no version.
    """
    header = (if_match or "*").strip()
    if header == "*":
        return None
    version = _VERSION.fullmatch(header)
    if version is None:
        raise stale(f'If-Match is {header[:100]!r}; use "v" and the version, as in "v1"')
    return int(version[1])


def stale(detail: str) -> Problem:
    """The edit was meant for another version."""
    return Problem("precondition_failed", detail)


def preferred_wait_s(prefer: str | None, *, longest_s: float) -> float:
    """The seconds of ``Prefer: wait=…`` (RFC 7240), at most ``longest_s``; 0 without it."""
    for preference in (prefer or "").replace(";", ",").split(","):
        name, _, value = preference.strip().partition("=")
        if name.strip().lower() == "wait" and value.strip().isdecimal():
            return min(float(value), longest_s)
    return 0.0


def check_range(header: str, size_bytes: int) -> None:
    """Some of the bytes that Range asks for exist.

    Raises:
        Problem: none do, or it is no range of bytes.
    """
    unit, _, ranges = header.partition("=")
    known = unit.strip() == "bytes" and all(_RANGE.fullmatch(r.strip()) for r in ranges.split(","))
    if known and any(_first_byte(r.strip(), size_bytes) < size_bytes for r in ranges.split(",")):
        return
    raise Problem(
        "range_not_satisfiable",
        f"Range is {header[:100]!r}; the file has bytes 0-{size_bytes - 1}",
        headers={"Content-Range": f"bytes */{size_bytes}"},
    )


def only_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last that Range asks for.

    None where it asks for several ranges: whoever answers may then send the whole (RFC 9110, 14.2).
    """
    ranges = header.partition("=")[2].split(",")
    if len(ranges) > 1:
        return None
    first, _, last = ranges[0].strip().partition("-")
    if not first:
        return max(size_bytes - int(last), 0), size_bytes
    return int(first), min(int(last) + 1, size_bytes) if last else size_bytes


def _first_byte(part: str, size_bytes: int) -> int:
    first, _, last = part.partition("-")
    if first:
        return int(first) if not last or int(last) >= int(first) else size_bytes
    return size_bytes - int(last)


def _wish(part: str) -> tuple[str, float]:
    media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
    try:
        return media_range, float(quality)
    except ValueError:
        return media_range, 0.0


def _fits(media_type: str, media_range: str) -> bool:
    if media_range in {"*/*", media_type}:
        return True
    return media_range.endswith("/*") and media_type.startswith(media_range[:-1])
