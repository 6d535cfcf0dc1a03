"""What every kind of archive is read as: members, one after the other."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["file", "folder", "link", "special"]


class Readable(Protocol):
    """A stream of bytes that can be read forward only."""

    def read(self, size: int, /) -> bytes:
        """At most that many bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry as the archive names it; its content can be read until the next one is asked for.

    ``special`` are devices, pipes and whatever else is no file. ``read`` gives at most so many
    bytes, and none at the end.
    """

    name: str
    kind: Kind
    size_bytes: int
    read: Callable[[int], bytes]


def no_content(_: int) -> bytes:
    """The content of what is no file."""
    return b""
