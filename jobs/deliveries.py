"""Deliveries to webhooks: which is next, how an attempt ended, and another try by hand.

An attempt is a lease: whoever claims a delivery has it for a while, and when nothing is heard of
the sender the delivery is due again. So each one arrives at least once, and may arrive twice.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Connection, Result, Row, exists, select, update

from jobs import outbox, tables, webhooks
from jobs.database import Database, db_now_ms
from jobs.errors import NotFoundError, WebhookDisabledError
from jobs.outbox import MOST_ATTEMPTS, PAUSES_S

_GONE = 410
_JITTER = 0.2
"""A pause is longer by up to this share, so that what failed together does not return together."""
_GIVEN_UP = "nothing could be delivered for three days"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one webhook; ``state`` is pending, delivered or failed.

    ``status`` and ``error`` are of the last attempt, ``due_ms`` of the next one.
    """

    id: str
    webhook_id: str
    type: str
    job_id: str | None
    payload: str
    state: str
    attempts: int
    tries_left: int
    due_ms: int
    status: int | None
    error: str | None
    tried_ms: int | None
    finished_ms: int | None
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A delivery that this process alone may try now, where to, and the secrets that sign it."""

    delivery: Delivery
    url: str = field(repr=False)
    secrets: Sequence[str] = field(repr=False)
    now_ms: int


_FIELDS = tuple(each.name for each in fields(Delivery))


def claim(database: Database, *, lease_ms: int) -> Attempt | None:
    """The delivery that is due for longest; None when nothing is.

    A webhook to which something is on its way is left alone meanwhile: a slow receiver keeps
    one sender busy, not all of them.
    """
    with database.read() as connection:
        if _next(connection) is None:
            return None
    with database.write() as connection:
        row = _next(connection, lock=True)
        if row is None:
            return None
        columns, now_ms = tables.webhook_deliveries.c, db_now_ms(connection)
        connection.execute(
            update(tables.webhook_deliveries)
            .where(columns.id == row.id)
            .values(
                attempts=columns.attempts + 1,
                tries_left=columns.tries_left - 1,
                lease_until_ms=now_ms + lease_ms,
                due_ms=now_ms + lease_ms,
                tried_ms=now_ms,
            )
        )
        keys = [row.secret]
        if row.old_secret_until_ms is not None and row.old_secret_until_ms > now_ms:
            keys.append(row.old_secret)
        delivery = fetch(connection, row.webhook_id, row.id)
        return Attempt(delivery=delivery, url=row.url, secrets=keys, now_ms=now_ms)


def settle(
    database: Database, attempt: Attempt, *, status: int | None, error: str | None
) -> Delivery | None:
    """The attempt's end is written down; None when the delivery was claimed again or is gone.

    Without an error it has arrived. After the last error, or at a 410, it has failed; then the
    webhook is disabled if it says 410, or if nothing has arrived since the delivery was written.
    """
    with database.write() as connection:
        columns, now_ms = tables.webhook_deliveries.c, db_now_ms(connection)
        changed = connection.execute(
            update(tables.webhook_deliveries)
            .where(
                columns.id == attempt.delivery.id,
                columns.attempts == attempt.delivery.attempts,
                columns.state == "pending",
            )
            .values(
                status=status,
                error=error,
                lease_until_ms=0,
                **_outcome(attempt.delivery, status, error, now_ms),
            )
        )
        if changed.rowcount != 1:
            return None
        webhook_id = attempt.delivery.webhook_id
        delivery = fetch(connection, webhook_id, attempt.delivery.id)
        if error is None:
            connection.execute(
                update(tables.webhooks)
                .where(tables.webhooks.c.id == webhook_id)
                .values(last_delivered_ms=now_ms)
            )
        elif delivery.state == "failed":
            _give_up(connection, delivery, now_ms)
        return delivery


def get(database: Database, webhook_id: str, delivery_id: str) -> Delivery:
    """The delivery as it stands now.

    Raises:
        NotFoundError: the webhook has no such delivery.
    """
    with database.read() as connection:
        return fetch(connection, webhook_id, delivery_id)


def list_deliveries(
    database: Database,
    webhook_id: str,
    *,
    state: str | None = None,
    after: str | None = None,
    limit: int,
) -> list[Delivery]:
    """At most ``limit`` deliveries of the webhook, newest first, beginning behind ``after``."""
    columns = tables.webhook_deliveries.c
    query = select(tables.webhook_deliveries).where(columns.webhook_id == webhook_id)
    if state is not None:
        query = query.where(columns.state == state)
    if after is not None:
        query = query.where(columns.id < after)
    with database.read() as connection:
        webhooks.fetch(connection, webhook_id)
        rows = connection.execute(query.order_by(columns.id.desc()).limit(limit))
        return [_delivery(row) for row in rows]


def send_test(connection: Connection, webhook_id: str) -> Delivery:
    """A delivery that tells nothing but that it came is due.

    Raises:
        NotFoundError: no webhook has this id.
        WebhookDisabledError: it is told nothing.
    """
    _require_enabled(connection, webhook_id)
    now_ms = db_now_ms(connection)
    data = {"webhook_id": webhook_id}
    delivery_id = outbox.add(connection, webhook_id, outbox.TEST_EVENT, data, now_ms=now_ms)
    return fetch(connection, webhook_id, delivery_id)


def redeliver(connection: Connection, webhook_id: str, delivery_id: str) -> Delivery:
    """The delivery is due now, under its old id, with all attempts before it.

    Raises:
        NotFoundError: the webhook has no such delivery.
        WebhookDisabledError: it is told nothing.
    """
    _require_enabled(connection, webhook_id)
    columns = tables.webhook_deliveries.c
    connection.execute(
        update(tables.webhook_deliveries)
        .where(columns.id == delivery_id, columns.webhook_id == webhook_id)
        .values(
            state="pending",
            tries_left=MOST_ATTEMPTS,
            due_ms=db_now_ms(connection),
            finished_ms=None,
        )
    )
    return fetch(connection, webhook_id, delivery_id)


def fetch(connection: Connection, webhook_id: str, delivery_id: str) -> Delivery:
    """The delivery as this transaction sees it.

    Raises:
        NotFoundError: the webhook has no such delivery.
    """
    columns = tables.webhook_deliveries.c
    query = select(tables.webhook_deliveries).where(
        columns.id == delivery_id, columns.webhook_id == webhook_id
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError("delivery", delivery_id)
    return _delivery(row)


def _next(connection: Connection, *, lock: bool = False) -> Row[Any] | None:
    columns, webhook = tables.webhook_deliveries.c, tables.webhooks.c
    under_way = tables.webhook_deliveries.alias("under_way")
    now_ms = db_now_ms(connection)
    query = (
        select(
            columns.id,
            columns.webhook_id,
            webhook.url,
            webhook.secret,
            webhook.old_secret,
            webhook.old_secret_until_ms,
        )
        .join_from(tables.webhook_deliveries, tables.webhooks, webhook.id == columns.webhook_id)
        .where(
            columns.state == "pending",
            columns.due_ms <= now_ms,
            webhook.enabled,
            ~exists().where(
                under_way.c.webhook_id == columns.webhook_id,
                under_way.c.state == "pending",
                under_way.c.lease_until_ms > now_ms,
            ),
        )
        .order_by(columns.due_ms, columns.id)
        .limit(1)
    )
    if lock:
        query = query.with_for_update(skip_locked=True, of=tables.webhook_deliveries)
    found: Result[Any] = connection.execute(query)
    return found.one_or_none()


def _outcome(
    delivery: Delivery, status: int | None, error: str | None, now_ms: int
) -> dict[str, Any]:
    if error is None:
        return {"state": "delivered", "finished_ms": now_ms}
    if status == _GONE or delivery.tries_left <= 0:
        return {"state": "failed", "finished_ms": now_ms}
    return {"due_ms": now_ms + _pause_ms(MOST_ATTEMPTS - delivery.tries_left)}


def _pause_ms(failures: int) -> int:
    drawn = random.uniform(1, 1 + _JITTER)  # noqa: S311 - nothing secret
    return int(PAUSES_S[failures - 1] * drawn * 1000)


def _give_up(connection: Connection, delivery: Delivery, now_ms: int) -> None:
    if delivery.status == _GONE:
        reason = "the receiver answered 410: it wants no more"
        webhooks.disable(connection, delivery.webhook_id, reason, now_ms=now_ms)
        return
    last_ms = webhooks.fetch(connection, delivery.webhook_id).last_delivered_ms
    if last_ms is None or last_ms < delivery.created_ms:
        webhooks.disable(connection, delivery.webhook_id, _GIVEN_UP, now_ms=now_ms)


def _require_enabled(connection: Connection, webhook_id: str) -> None:
    if not webhooks.fetch(connection, webhook_id, lock=True).enabled:
        raise WebhookDisabledError(webhook_id)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in _FIELDS})
