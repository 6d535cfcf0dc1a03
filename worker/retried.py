"""Fetching again what broke off, as long as that brings new bytes."""

import time
from collections.abc import Callable

import structlog

from jobs.back_off import BackOff
from jobs.errors import SourceInterruptedError, SourceTimeoutError

log = structlog.get_logger(__name__)


def retried(take: Callable[[], None], come_bytes: Callable[[], int], back_off: BackOff) -> None:
    """``take`` has ended well, begun anew after each failure that may be over soon.

    Raises:
        SourceInterruptedError, SourceTimeoutError: no new byte has come in as many attempts as
            errors of a network may end.
    """
    furthest_bytes, setbacks = -1, 0
    while True:
        try:
            take()
        except (SourceInterruptedError, SourceTimeoutError) as problem:
            setbacks = 1 if come_bytes() > furthest_bytes else setbacks + 1
            if setbacks >= back_off.io_attempts:
                raise
            furthest_bytes = max(furthest_bytes, come_bytes())
            log.warning("source_broke_off", reason=str(problem), bytes=come_bytes())
            time.sleep(back_off.pause_ms(setbacks) / 1000)
        else:
            return
