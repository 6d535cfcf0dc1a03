"""One answer for equal requests: the key's row is written first, in the request's transaction.

Rivals wait on the key's uniqueness (SQLite: on the write lock) and then find the answer.
draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError, OperationalError

from jobs import tables
from jobs.database import Database, db_now_ms, waited_too_long
from jobs.errors import IdempotencyInProgressError, IdempotencyKeyReusedError

KEPT_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A key as a client sent it, with the scope it counts in and its request's fingerprint."""

    scope: str
    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The first answer: status, headers worth repeating, and the JSON body as text."""

    status: int
    headers: Mapping[str, str]
    body: str


def fingerprint(body: Any) -> str:  # noqa: ANN401 - any JSON value
    """SHA-256 of the canonical JSON, hexadecimal."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def begin(connection: Connection, claim: Claim) -> StoredAnswer | None:
    """The stored answer of an equal request, or None: the key is ours in this transaction.

    Raises:
        IdempotencyKeyReusedError: the key was used with another request.
        IdempotencyInProgressError: a rival holds the key and has not answered.
    """
    forget_old(connection)
    oldest_ms = _oldest_kept_ms(connection)
    stored = _find(connection, claim, oldest_ms)
    if stored is not None:
        return stored
    try:
        with connection.begin_nested():
            connection.execute(
                insert(tables.idempotency).values(
                    scope=claim.scope,
                    key=claim.key,
                    fingerprint=claim.fingerprint,
                    created_ms=db_now_ms(connection),
                )
            )
    except IntegrityError as problem:
        stored = _find(connection, claim, oldest_ms)
        if stored is None:
            raise IdempotencyInProgressError(claim.key) from problem
        return stored
    except OperationalError as problem:
        if waited_too_long(problem):
            raise IdempotencyInProgressError(claim.key) from problem
        raise
    return None


def _oldest_kept_ms(connection: Connection) -> int:
    return db_now_ms(connection) - KEPT_MS


def forget_old(connection: Connection) -> int:
    """The answers older than `KEPT_MS` are gone; their number is returned."""
    columns, oldest_ms = tables.idempotency.c, _oldest_kept_ms(connection)
    # what another transaction is deleting is left to it: two of them must not wait for each other
    old = (
        select(columns.scope, columns.key)
        .where(columns.created_ms < oldest_ms)
        .with_for_update(skip_locked=True)
    )
    forgotten = connection.execute(
        delete(tables.idempotency).where(tuple_(columns.scope, columns.key).in_(old))
    )
    return forgotten.rowcount


def complete(connection: Connection, claim: Claim, answer: StoredAnswer) -> None:
    """Equal requests will get this answer; it commits with the work it speaks of."""
    columns = tables.idempotency.c
    connection.execute(
        update(tables.idempotency)
        .where(columns.scope == claim.scope, columns.key == claim.key)
        .values(status=answer.status, headers=dict(answer.headers), body=answer.body)
    )


def find(database: Database, claim: Claim) -> StoredAnswer | None:
    """The answer an equal request got within the last `KEPT_MS`, if there was one.

    Raises:
        IdempotencyKeyReusedError: the key was used with another request.
        IdempotencyInProgressError: that request has not been answered.
    """
    with database.read() as connection:
        return _find(connection, claim, _oldest_kept_ms(connection))


def _find(connection: Connection, claim: Claim, oldest_ms: int) -> StoredAnswer | None:
    columns = tables.idempotency.c
    row = connection.execute(
        select(tables.idempotency).where(
            columns.scope == claim.scope,
            columns.key == claim.key,
            columns.created_ms >= oldest_ms,
        )
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != claim.fingerprint:
        raise IdempotencyKeyReusedError(claim.key)
    if row.status is None:
        raise IdempotencyInProgressError(claim.key)
    return StoredAnswer(status=row.status, headers=row.headers, body=row.body)
