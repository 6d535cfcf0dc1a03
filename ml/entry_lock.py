"""The lock beside an entry of pixels: exclusive while it is built, shared while it is in use."""

import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ml.errors import StoppedError

POLL_S = 0.1


def locked(entry: Path, mode: int, should_stop: Callable[[], bool]) -> BinaryIO:
    """The lock, held until it is closed.

    Args:
        entry: The folder that it stands for.
        mode: ``fcntl.LOCK_SH`` or ``fcntl.LOCK_EX``.
        should_stop: Asked while others hold it.

    Raises:
        StoppedError: ``should_stop`` said so before it was free.
    """
    lock = entry.with_suffix(".lock").open("ab")
    try:
        while not try_lock(lock, mode):
            if should_stop():
                raise StoppedError("waiting for another process that presizes", "stop")
            time.sleep(POLL_S)
    except BaseException:
        lock.close()
        raise
    return lock


def try_lock(lock: BinaryIO, mode: int) -> bool:
    """Whether the lock was free, and is ours now."""
    try:
        fcntl.flock(lock, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
