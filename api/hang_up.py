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
    outcome: list[T] = []
    failures: list[Exception] = []

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        both.cancel_scope.cancel()

    async with anyio.create_task_group() as both:
        both.start_soon(watch)
        try:
            outcome.append(await work)
        except Exception as failure:  # noqa: BLE001  # raised again below, by itself, not in a group
            failures.append(failure)
        both.cancel_scope.cancel()
    if failures:
        raise failures[0]
    if not outcome:
        raise ClientGoneError
    return outcome[0]
