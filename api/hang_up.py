"""Clients that go away while their answer is waited for: nobody goes on waiting for them."""

from collections.abc import Awaitable
from typing import TypeVar

import anyio
from fastapi import Request

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client has hung up; what is answered now reaches nobody."""


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """What the work comes to; it is cancelled as soon as the client hangs up.

    The request's body must have been read, or there is none.

    Raises:
        ClientGoneError: the client was faster.
    """
    async with anyio.create_task_group() as both:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            both.cancel_scope.cancel()

        both.start_soon(watch)
        found = await work
        both.cancel_scope.cancel()
        return found
    raise ClientGoneError
