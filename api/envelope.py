"""What surrounds every request: its id, the check of who is asked, one log line."""

import re
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.deprecation import headers_of
from api.problems import Problem, response_of
from jobs import metrics, tracing
from jobs.ids import new_request_id

UPLOADS_PATH = "/v1/uploads"
MAX_BODY_BYTES = 32 * 1024 * 1024
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger(__name__)


class Envelope:
    """ASGI middleware: nothing reaches the routes that was meant for another host.

    A browser that was lured into resolving a foreign name to 127.0.0.1 still sends that name in
    Host, and a foreign page names itself in Origin; both are refused.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], origins: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request is answered, with an X-Request-Id, and logged in one line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        sent = headers.get("traceparent")
        with (
            structlog.contextvars.bound_contextvars(request_id=request_id),
            tracing.span("request", parent=sent, kind="server", request_id=request_id) as span,
        ):
            answer = _Answer(send, scope)
            began_s = time.perf_counter()
            try:
                await self._guarded(scope, receive, answer, headers)
            finally:
                seconds = time.perf_counter() - began_s
                route = _route_of(scope)
                metrics.count_request(scope["method"], route, answer.status, seconds)
                if answer.is_stream:
                    metrics.STREAM_READERS.dec()
                span.tell(
                    f"{scope['method']} {route or 'none'}",
                    http__request__method=scope["method"],
                    http__route=route or "",
                    http__response__status_code=answer.status or 500,
                )
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"],
                    route=route,
                    status=answer.status,
                    ms=round(seconds * 1000, 1),
                    **_key_of(scope),
                )

    async def _guarded(
        self, scope: Scope, receive: Receive, answer: "_Answer", headers: Headers
    ) -> None:
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            response = response_of(
                refusal, instance=scope["path"], request_id=scope["state"]["request_id"]
            )
            await response(scope, receive, answer)
            return
        # that route has a limit of its own, and never holds a body in memory
        is_streamed = scope["path"] == UPLOADS_PATH
        await self._app(scope, receive if is_streamed else _Limited(receive), answer)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        host = _name_of(f"//{headers.get('host', '')}")
        if host not in self._hosts:
            return Problem("forbidden", f"the Host {host!r} is not one this service answers to")
        origin = headers.get("origin")
        is_foreign = origin is not None and origin not in self._origins
        # CORS asks beforehand; without such a question OPTIONS tells no more than the document
        is_act = scope["method"] not in _SAFE_METHODS or "access-control-request-method" in headers
        if is_foreign and is_act:
            name = _name_of(str(origin))
            if name not in self._hosts:
                return Problem("forbidden", f"pages of {name!r} may not act on this service")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            detail = "the address holds the character U+0000, which no id and no text can hold"
            return Problem("validation_failed", detail)
        return None


class _Limited:
    """Receives a body, up to a limit."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message


class _Answer:
    """Sends on, remembering the status and adding what every answer has."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self._scope = scope
        self.status: int | None = None
        self.is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._scope["state"]["request_id"]
            for name, value in headers_of(self._scope):
                headers.append(name, value)
            if headers.get("content-type", "").startswith("text/event-stream"):
                self.is_stream = True
                metrics.STREAM_READERS.inc()
        await self._send(message)


def _request_id(inbound: str | None) -> str:
    if inbound is not None and _SANE_REQUEST_ID.fullmatch(inbound):
        return inbound
    return new_request_id()


def _route_of(scope: Scope) -> str | None:
    """The template of the route that took the request, such as ``/v1/jobs/{job_id}``."""
    return getattr(scope.get("route"), "path", None)


def _key_of(scope: Scope) -> dict[str, str]:
    """Which key the request came with, for the log; nothing where none was needed."""
    caller = scope["state"].get("caller")
    return {"key_id": caller.key_id} if caller is not None and caller.key_id else {}


def _name_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
