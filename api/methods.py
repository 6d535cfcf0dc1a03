"""Methods that every path has without a route of its own: HEAD and OPTIONS (RFC 9110, 9.3)."""

import re
from functools import cache

import anyio
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.requests import Request
from starlette.routing import Mount, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

IS_HEAD = "tunesmith.is_head"
"""In the scope of a request whose answer's body nobody will read."""

_OF_FILES = ("GET",)


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

            await self._app({**scope, "method": "GET", IS_HEAD: True}, receive, send_head)


def allowed_methods(request: Request) -> str:
    """The methods of the request's path, as Allow lists them; empty where there is no such path."""
    found = [
        route
        for route in iter_route_contexts(request.app.routes)
        if _matches(route, request.url.path)
    ]
    # the first is the one that answers: the path of one thing may fit that of another's id
    methods = {
        method
        for route in found
        if route.path == found[0].path
        for method in (route.methods or _OF_FILES)
    }
    methods |= {"HEAD"} if "GET" in methods else set()
    return ", ".join(sorted({*methods, "OPTIONS"})) if methods else ""


def _matches(route: RouteContext, path: str) -> bool:
    if isinstance(route.original_route, Mount):
        return path.startswith(f"{route.path}/")
    return _pattern(route.path or "").match(path) is not None


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]
