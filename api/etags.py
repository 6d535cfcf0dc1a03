"""Entity tags of JSON answers: a client that has the newest one gets 304 in its place."""

import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.negotiation import holds_newest


class Etags:
    """ASGI middleware: every JSON answer to a GET has a weak ETag (RFC 9110, 8.8.3).

    One that a route gives stays; any other is made of the body, so it spares the way, not the work.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request is answered."""
        if scope["type"] == "http" and scope["method"] == "GET":
            send = _Tagged(send, Headers(scope=scope).get("if-none-match"))
        await self._app(scope, receive, send)


class _Tagged:
    """Sends on, keeping the head of an answer back until its body is there."""

    def __init__(self, send: Send, if_none_match: str | None) -> None:
        self._send = send
        self._if_none_match = if_none_match
        self._head: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _wants_tag(message):
            self._head = message
            return
        head, self._head = self._head, None
        if head is not None:
            # what comes in pieces is not held in memory
            is_whole = not message.get("more_body", False)
            known = is_whole and self._tag(head, message["body"])
            await self._send(_not_modified(head) if known else head)
            message = {**message, "body": b""} if known else message
        await self._send(message)

    def _tag(self, head: Message, body: bytes) -> bool:
        """The head has its tag; whether the client has the body already."""
        etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = MutableHeaders(scope=head)
        headers["ETag"] = etag
        headers.setdefault("Cache-Control", "no-cache")
        return holds_newest(self._if_none_match, etag)


def _wants_tag(head: Message) -> bool:
    headers = Headers(raw=head["headers"])
    is_json = headers.get("content-type") == "application/json"
    return head["status"] == 200 and is_json and "etag" not in headers


def _not_modified(head: Message) -> Message:
    """RFC 9110, 15.4.5: the headers stay, but for those of the body that is not sent."""
    of_body = {b"content-length", b"content-type"}
    headers = [pair for pair in head["headers"] if pair[0].lower() not in of_body]
    return {**head, "status": 304, "headers": headers}
