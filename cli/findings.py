"""What a check of an installation has found."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands with one thing; only what has failed makes the whole unhealthy."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How it stands with one thing, and what to do about it."""

    name: str
    state: State = State.OK
    found: str
    remedy: str = ""
