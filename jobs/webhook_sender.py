"""Sends what the outbox holds; any number of processes may, as each attempt is a lease."""

import threading

import structlog

from jobs import deliveries, metrics
from jobs.database import Database
from jobs.deliveries import Attempt, Delivery
from jobs.errors import SourceForbiddenError, SourceUnreachableError, StoreUnavailableError
from jobs.net import Guard
from jobs.settings import Settings
from jobs.signatures import signed_headers

LOOK_S = 1.0
SENDERS = 4
_STOPPED_WITHIN_S = 2.0
_ERROR_CHARACTERS = 500

log = structlog.get_logger(__name__)


class WebhookSender:
    """`SENDERS` threads that send while there is something to send, and else look every second."""

    def __init__(self, database: Database, settings: Settings) -> None:
        timeout_s = settings.webhook_timeout_s
        self._database = database
        self._guard = Guard(targets=settings.targets, connect_s=timeout_s, idle_s=timeout_s)
        # beyond both, or a second sender would take what the first is still sending
        self._lease_ms = int((2 * timeout_s + 30) * 1000)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, name=f"webhooks-{number}", daemon=True)
            for number in range(SENDERS)
        ]

    def start(self) -> None:
        """The threads run."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No other attempt begins.

        One that still waits for its receiver is not waited for: it counts as never answered,
        and another process tries again.
        """
        self._stopping.set()
        for thread in self._threads:
            thread.join(_STOPPED_WITHIN_S)

    def send_next(self) -> Delivery | None:
        """The delivery that was due, after an attempt at it; None when nothing was."""
        attempt = deliveries.claim(self._database, lease_ms=self._lease_ms)
        if attempt is None:
            return None
        status, error = self._post(attempt)
        metrics.WEBHOOK_ATTEMPTS.labels("delivered" if error is None else "failed").inc()
        settled = deliveries.settle(self._database, attempt, status=status, error=error)
        log.info(
            "webhook_tried",
            delivery_id=attempt.delivery.id,
            webhook_id=attempt.delivery.webhook_id,
            type=attempt.delivery.type,
            attempt=attempt.delivery.attempts,
            status=status,
            error=error,
            state=None if settled is None else settled.state,
        )
        return settled or attempt.delivery

    def _post(self, attempt: Attempt) -> tuple[int | None, str | None]:
        """The answer's status, and what is wrong with it; no status where nothing answered."""
        content = attempt.delivery.payload.encode()
        now_s = attempt.now_ms // 1000
        signed = signed_headers(attempt.delivery.id, content, attempt.secrets, now_s=now_s)
        headers = {"Content-Type": "application/json", "User-Agent": "Tunesmith", **signed}
        try:
            status = self._guard.post(attempt.url, headers, content)
        except (SourceForbiddenError, SourceUnreachableError) as problem:
            return None, str(problem)[:_ERROR_CHARACTERS]
        return status, None if 200 <= status < 300 else f"the receiver answered {status}"

    def _repeat(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                while not self._stopping.is_set() and self.send_next() is not None:
                    pass
            except StoreUnavailableError as problem:
                log.warning("webhooks_not_sent", error=str(problem))
