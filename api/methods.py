"""Methods that every path has without a route of its own: HEAD and OPTIONS (RFC 9110, 9.3)."""

import anyio
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")


class HeadAsGet:
    """ASGI middleware: HEAD is answered as GET is, without the body.

    What would be streamed is broken off behind its headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request is answered."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as enough:

            async def send_head(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b""})
                    enough.cancel()

            await self._app({**scope, "method": "GET"}, receive, send_head)


def allowed_methods(request: Request) -> str:
    """The methods of the request's path, as Allow lists them; empty where there is no such path."""
    methods = {method for method in _METHODS if _is_served(request, method)}
    methods |= {"HEAD"} if "GET" in methods else set()
    return ", ".join(sorted({*methods, "OPTIONS"})) if methods else ""


def _is_served(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method}
    return any(route.matches(scope)[0] == Match.FULL for route in request.app.routes)
