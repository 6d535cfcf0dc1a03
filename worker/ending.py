"""The end of a worker process, which does not depend on Celery's.

Celery's heartbeat asks for a connection again and again, for as long as there is no Redis, and
does not look meanwhile whether the process is to end.
"""

import os
import threading
from collections.abc import Sequence

import structlog

from worker.worker import Worker

CELERY_ENDS_WITHIN_S = 3.0
"""Seconds that Celery has for its own end after the workers'."""

log = structlog.get_logger(__name__)


class Ending:
    """What follows on a request to end, or on Celery's own end."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._celery_has_ended = threading.Event()
        self._closing = threading.Lock()
        self._are_closed = False

    def begin(self) -> None:
        """Running jobs go back; the process ends once they have."""
        for worker in self._workers:
            worker.drain()
        threading.Thread(target=self._end, name="ending", daemon=True).start()

    def after_celery(self) -> None:
        """All workers are closed; the process may return."""
        self._celery_has_ended.set()
        self._close()

    def _end(self) -> None:
        self._close()
        if not self._celery_has_ended.wait(CELERY_ENDS_WITHIN_S):
            log.warning("ended_without_celery", hint="it waits for Redis")
            os._exit(0)

    def _close(self) -> None:
        with self._closing:
            if not self._are_closed:
                for worker in self._workers:
                    worker.close()
                self._are_closed = True
