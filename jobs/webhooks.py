"""Webhooks in the database: addresses that are told what happens to their owner's jobs.

Their secrets are kept as they are, as nothing can be signed with a digest: see ADR 25.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, text, update

from jobs import outbox, tables
from jobs.database import Database, db_now_ms
from jobs.errors import NotFoundError, QuotaExceededError
from jobs.ids import new_webhook_id
from jobs.signatures import new_secret

GRACE_MS = 24 * 3600 * 1000
"""How long the secret before the newest one still signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One address and what it is told; ``disabled_reason`` only if the service disabled it."""

    id: str
    owner: str
    url: str = field(repr=False)
    description: str | None
    events: Sequence[str]
    enabled: bool
    disabled_reason: str | None
    old_secret_until_ms: int | None
    last_delivered_ms: int | None
    created_ms: int
    version: int


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A webhook with a secret just drawn, which nothing tells again."""

    webhook: Webhook
    secret: str = field(repr=False)


_FIELDS = tuple(each.name for each in fields(Webhook))


def create(
    connection: Connection,
    *,
    owner: str,
    url: str,
    events: Sequence[str],
    description: str | None = None,
    most: int,
) -> NewSecret:
    """The webhook is told what happens from now on.

    Raises:
        QuotaExceededError: the owner has ``most`` already.
    """
    columns = tables.webhooks.c
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:owner))"), {"owner": owner})
    query = select(func.count()).where(columns.owner == owner)
    if connection.execute(query).scalar_one() >= most:
        raise QuotaExceededError("webhooks", most)
    webhook_id, secret = new_webhook_id(), new_secret()
    connection.execute(
        insert(tables.webhooks).values(
            id=webhook_id,
            owner=owner,
            url=url,
            description=description,
            events=list(events),
            secret=secret,
            enabled=True,
            created_ms=db_now_ms(connection),
        )
    )
    return NewSecret(fetch(connection, webhook_id), secret)


def fetch(connection: Connection, webhook_id: str, *, lock: bool = False) -> Webhook:
    """The webhook as this transaction sees it; ``lock`` keeps other writers away until its end.

    Raises:
        NotFoundError: no webhook has this id.
    """
    query = select(tables.webhooks).where(tables.webhooks.c.id == webhook_id)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFoundError("webhook", webhook_id)
    return _webhook(row)


def get(database: Database, webhook_id: str) -> Webhook:
    """The webhook as it stands now.

    Raises:
        NotFoundError: no webhook has this id.
    """
    with database.read() as connection:
        return fetch(connection, webhook_id)


def list_webhooks(
    database: Database, *, owner: str | None, after: str | None = None, limit: int
) -> list[Webhook]:
    """At most ``limit`` webhooks, newest first, beginning behind the id ``after``."""
    columns = tables.webhooks.c
    query = select(tables.webhooks).order_by(columns.id.desc()).limit(limit)
    if owner is not None:
        query = query.where(columns.owner == owner)
    if after is not None:
        query = query.where(columns.id < after)
    with database.read() as connection:
        return [_webhook(row) for row in connection.execute(query)]


def edit(
    database: Database,
    webhook_id: str,
    changes: Mapping[str, Any],
    *,
    expected_version: int | None = None,
) -> Webhook | None:
    """The webhook with these columns changed; None when its version was another.

    One that is disabled is told nothing more.

    Raises:
        NotFoundError: no webhook has this id.
    """
    with database.write() as connection:
        webhook = fetch(connection, webhook_id, lock=True)
        if expected_version is not None and webhook.version != expected_version:
            return None
        counted = {**changes, "version": webhook.version + 1}
        _set(connection, webhook_id, disabled_reason=None, **counted)
        if changes.get("enabled") is False:
            now_ms = db_now_ms(connection)
            outbox.abandon(connection, webhook_id, "the webhook was disabled", now_ms=now_ms)
        return fetch(connection, webhook_id)


def rotate(connection: Connection, webhook_id: str) -> NewSecret:
    """Everything is signed with a new secret; the one before signs beside it for `GRACE_MS`.

    Raises:
        NotFoundError: no webhook has this id.
    """
    columns, secret = tables.webhooks.c, new_secret()
    fetch(connection, webhook_id, lock=True)
    connection.execute(
        update(tables.webhooks)
        .where(columns.id == webhook_id)
        .values(
            secret=secret,
            old_secret=columns.secret,
            old_secret_until_ms=db_now_ms(connection) + GRACE_MS,
        )
    )
    return NewSecret(fetch(connection, webhook_id), secret)


def disable(connection: Connection, webhook_id: str, reason: str, *, now_ms: int) -> None:
    """The service gave the webhook up: it is told nothing until its owner enables it."""
    _set(connection, webhook_id, enabled=False, disabled_reason=reason)
    outbox.abandon(connection, webhook_id, reason, now_ms=now_ms)


def delete_webhook(database: Database, webhook_id: str) -> None:
    """The webhook is gone, with its secrets and its deliveries.

    Raises:
        NotFoundError: no webhook has this id.
    """
    with database.write() as connection:
        gone = connection.execute(delete(tables.webhooks).where(tables.webhooks.c.id == webhook_id))
        if gone.rowcount == 0:
            raise NotFoundError("webhook", webhook_id)


def _set(connection: Connection, webhook_id: str, **values: Any) -> None:  # noqa: ANN401 - columns
    connection.execute(
        update(tables.webhooks).where(tables.webhooks.c.id == webhook_id).values(**values)
    )


def _webhook(row: Row[Any]) -> Webhook:
    return Webhook(**{name: getattr(row, name) for name in _FIELDS})
