"""Waiting for a database that is away: no job fails or starts again because of it."""

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from jobs.errors import StoreUnavailableError

_RETRY_S = 1.0
_T = TypeVar("_T")

log = structlog.get_logger(__name__)


def until_answered(ask: Callable[[], _T]) -> _T:
    """The database's answer, however long it is away; the control thread ends us in the end."""
    while True:
        try:
            return ask()
        except StoreUnavailableError as problem:
            log.warning("database_away", error=str(problem))
            time.sleep(_RETRY_S)
