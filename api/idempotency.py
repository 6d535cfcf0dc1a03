"""The Idempotency-Key of a request: equal requests get the first one's answer."""

import json
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from sqlalchemy import Connection

from api.auth import CallerDep
from api.dependencies import ServicesDep
from jobs import idempotency
from jobs.database import Database
from jobs.idempotency import Claim, StoredAnswer

KeyHeader = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        description="any text that is unique to this request; sending it again within a day, with "
        "the same body, gives the first answer instead of acting twice",
    ),
]


class Once:
    """Acts once for all equal requests that carry one key; without a key each one acts."""

    def __init__(self, database: Database, claim: Claim | None) -> None:
        self._database = database
        self._claim = claim

    def replayed(self) -> Response | None:
        """The answer that an equal request got before, if there was one.

        Raises:
            IdempotencyKeyReusedError: the key was used with another request.
            IdempotencyInProgressError: that request has not been answered.
        """
        if self._claim is None:
            return None
        stored = idempotency.find(self._database, self._claim)
        return None if stored is None else _replay(stored)

    def create(
        self, act: Callable[[Connection], StoredAnswer], *, then: Callable[[], None]
    ) -> Response:
        """The answer of ``act``, committed together with the key; ``then`` follows the commit.

        A rival that was first wins: its answer is returned and nothing is done.
        """
        with self._database.write() as connection:
            if self._claim is not None:
                stored = idempotency.begin(connection, self._claim)
                if stored is not None:
                    return _replay(stored)
            answer = act(connection)
            if self._claim is not None:
                idempotency.complete(connection, self._claim, answer)
        then()
        return fresh(answer)

    def remember(self, answer: StoredAnswer) -> Response:
        """The answer to an act that is safe to repeat, kept for equal requests."""
        if self._claim is not None:
            with self._database.write() as connection:
                stored = idempotency.begin(connection, self._claim)
                if stored is not None:
                    return _replay(stored)
                idempotency.complete(connection, self._claim, answer)
        return fresh(answer)


async def get_once(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    idempotency_key: KeyHeader = None,
) -> Once:
    """The request's key in the scope of its caller's owner, its method and its path."""
    if idempotency_key is None:
        return Once(services.database, None)
    claim = Claim(
        scope=f"{caller.owner} {request.method} {request.url.path}",
        key=idempotency_key,
        fingerprint=idempotency.fingerprint(_content(await request.body())),
    )
    return Once(services.database, claim)


OnceDep = Annotated[Once, Depends(get_once)]


def fresh(answer: StoredAnswer) -> Response:
    """The answer, given for the first time."""
    return Response(
        answer.body,
        status_code=answer.status,
        headers=dict(answer.headers),
        media_type="application/json",
    )


def _replay(stored: StoredAnswer) -> Response:
    response = fresh(stored)
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _content(body: bytes) -> object:
    """The body as JSON; the text itself where a route that needs no body was sent something."""
    try:
        return json.loads(body, parse_float=_number) if body else None
    except (ValueError, RecursionError):
        return body.decode("latin-1")


def _number(text: str) -> float | int:
    """1.0 is the number 1, and 1e2 is 100 (RFC 8785, section 3.2.2.3)."""
    value = float(text)
    return int(value) if value.is_integer() else value
