"""The last net: an error that nobody expected becomes a problem, and a line in the log."""

import traceback

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import Problem, response_of

log = structlog.get_logger(__name__)


class LastNet:
    """ASGI middleware: what went wrong stands in the log alone; the client gets a request id.

    It hangs inside what a page of another origin may read, so that such a page reads this too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A 500 in place of the error; an answer that has begun is broken off by it."""
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = has_begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception:
            log.error("unexpected_error", exception=traceback.format_exc())
            if has_begun or scope["type"] != "http":
                raise
            problem = Problem("internal", "an unexpected error; the log has it by the request_id")
            response = response_of(
                problem, instance=scope["path"], request_id=scope["state"]["request_id"]
            )
            await response(scope, receive, send)
