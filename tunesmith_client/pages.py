"""Lists that come in pages, as one iterator."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from tunesmith_client.resources import Page, Resource
from tunesmith_client.transport import Transport, read

E = TypeVar("E", bound=Resource)

LARGEST_PAGE = 200


def page(transport: Transport, path: str, kind: type[Page[E]], query: Mapping[str, Any]) -> Page[E]:
    """One page of a list."""
    return read(kind, transport.get(path, query))


def entries(
    transport: Transport,
    path: str,
    kind: type[Page[E]],
    query: Mapping[str, Any],
    *,
    limit: int | None = None,
) -> Iterator[E]:
    """The first ``limit`` entries of a list, or all; pages are fetched as they are needed."""
    left, after = limit, None
    while left is None or left > 0:
        size = LARGEST_PAGE if left is None else min(left, LARGEST_PAGE)
        found = page(transport, path, kind, {**query, "limit": size, "after": after})
        yield from found.data
        if not found.has_more:
            return
        left, after = None if left is None else left - len(found.data), found.next_cursor
