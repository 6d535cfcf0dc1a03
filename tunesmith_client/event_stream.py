"""What happens to a job as server-sent events, over as many connections as it takes."""

import time
from collections.abc import Callable, Iterator

import httpx
import httpx_sse
from pydantic import ValidationError

from tunesmith_client.errors import ProblemError, UnexpectedAnswerError
from tunesmith_client.resources import Event
from tunesmith_client.transport import Transport

Broken = Callable[[str], None]
"""Is told why a connection broke, before it is made again."""

_READ = httpx.Timeout(10, read=45)
"""The service sends a comment every 15 s; after three of them are missing the line is dead."""
_LAST = frozenset({"job.succeeded", "job.failed", "job.cancelled"})


def follow(
    transport: Transport, job_id: str, *, after: int, patience_s: float, on_break: Broken | None
) -> Iterator[Event]:
    """Each event of the job behind number ``after``, as it comes, to the last one.

    A connection that breaks is made again from behind the last event, without a gap or a
    repetition, for as long as the service is away for less than ``patience_s``.

    Raises:
        ProblemError: there is no such job, or it may not be seen.
        UnreachableError: the service stayed away.
    """
    absence = _Absence(transport, patience_s)
    while True:
        reason = "the connection ended"
        try:
            for event in _connection(transport, job_id, after):
                absence.is_over()
                if event is not None:
                    after = event.seq
                    yield event
        except _StreamOverError:
            return
        except (httpx.TransportError, ProblemError) as broken:
            reason = absence.reason(broken)
        if on_break is not None:
            on_break(reason)
        time.sleep(transport.retries.first_pause_s)


class _Absence:
    """How long the service has been away."""

    def __init__(self, transport: Transport, patience_s: float) -> None:
        self._transport = transport
        self._patience_s = patience_s
        self._since_s: float | None = None

    def is_over(self) -> None:
        """It has answered."""
        self._since_s = None

    def reason(self, broken: httpx.TransportError | ProblemError) -> str:
        """Why a connection broke, where making another one may help.

        Raises:
            ProblemError: it will not help.
            UnreachableError: it has been tried for long enough.
        """
        if not self._transport.is_soon_over(broken):
            raise broken
        now_s = time.monotonic()
        self._since_s = now_s if self._since_s is None else self._since_s
        if now_s - self._since_s > self._patience_s:
            raise self._transport.unreachable(broken) from broken
        return str(broken) or type(broken).__name__


class _StreamOverError(Exception):
    """Nothing can follow what was seen (204)."""


def _connection(transport: Transport, job_id: str, after: int) -> Iterator[Event | None]:
    """None as soon as the service has answered, then each event."""
    headers = {
        "Last-Event-ID": str(after),
        "Accept": "text/event-stream",
        "Cache-Control": "no-store",
    }
    path = f"/v1/jobs/{job_id}/stream"
    with transport.streamed("GET", path, headers=headers, timeout=_READ) as response:
        if response.status_code == httpx.codes.NO_CONTENT:
            raise _StreamOverError
        yield None
        for sent in httpx_sse.EventSource(response).iter_sse():
            if sent.data:
                event = _event(sent)
                yield event
                if event.type in _LAST:
                    raise _StreamOverError


def _event(sent: httpx_sse.ServerSentEvent) -> Event:
    try:
        return Event.model_validate_json(sent.data)
    except ValidationError as wrong:
        raise UnexpectedAnswerError(f"the stream has no event of this version: {wrong}") from wrong
