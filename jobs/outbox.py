"""What webhooks are to be told: written in the transaction in which it happens, sent later.

`events.append` calls this for every event of a job, so nothing happens that is not told, and
nothing is told that was rolled back.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, insert, select, update

from jobs import tables
from jobs.ids import new_delivery_id

TEST_EVENT = "webhook.test"


class EventType(StrEnum):
    """What a webhook can be told; progress is too much of it, read the job's stream for that."""

    JOB_QUEUED = "job.queued"
    JOB_STARTED = "job.started"
    JOB_REQUEUED = "job.requeued"
    JOB_PAUSING = "job.pausing"
    JOB_PAUSED = "job.paused"
    JOB_RESUMED = "job.resumed"
    JOB_STOP_REQUESTED = "job.stop_requested"
    JOB_CANCELLING = "job.cancelling"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    DATASET_READY = "dataset.ready"
    DATASET_FAILED = "dataset.failed"


ENDS = (
    *(EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELLED),
    *(EventType.DATASET_READY, EventType.DATASET_FAILED),
)
"""What a webhook is told that asked for nothing in particular."""
_TOLD = frozenset(EventType)

_JOB = tables.jobs.c
_TOLD_OF_A_JOB = (_JOB.id, _JOB.type, _JOB.attempt, _JOB.dataset_id, _JOB.model_id, _JOB.error)

PAUSES_S = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds between the attempts at one delivery: 5 s to 24 h, three days together."""
MOST_ATTEMPTS = len(PAUSES_S) + 1


def write(connection: Connection, job_id: str, kind: str, *, seq: int, now_ms: int) -> None:
    """Every webhook of the job's owner that wants events of this type will be told of this one."""
    if kind not in _TOLD:
        return
    webhook = tables.webhooks.c
    query = (
        select(webhook.id.label("webhook_id"), webhook.events, *_TOLD_OF_A_JOB)
        .join_from(tables.webhooks, tables.jobs, webhook.owner == _JOB.owner)
        .where(_JOB.id == job_id, webhook.enabled)
        # one that is being deleted is waited for; the row's own changes are not
        .with_for_update(read=True, key_share=True, of=tables.webhooks)
    )
    for row in connection.execute(query).mappings():
        if kind in row["events"]:
            add(connection, row["webhook_id"], kind, _data(dict(row), seq), now_ms=now_ms)


def add(
    connection: Connection,
    webhook_id: str,
    kind: str,
    data: Mapping[str, Any],
    *,
    now_ms: int,
) -> str:
    """The delivery is due now, as part of the transaction; its id is returned."""
    delivery_id = new_delivery_id()
    payload = {"type": kind, "timestamp": _rfc_3339(now_ms), "data": dict(data)}
    connection.execute(
        insert(tables.webhook_deliveries).values(
            id=delivery_id,
            webhook_id=webhook_id,
            type=kind,
            job_id=data.get("job_id"),
            payload=json.dumps(payload, separators=(",", ":")),
            state="pending",
            attempts=0,
            tries_left=MOST_ATTEMPTS,
            due_ms=now_ms,
            lease_until_ms=0,
            created_ms=now_ms,
        )
    )
    return delivery_id


def abandon(connection: Connection, webhook_id: str, reason: str, *, now_ms: int) -> None:
    """What waits for this webhook has failed; it can be sent again by hand."""
    columns = tables.webhook_deliveries.c
    connection.execute(
        update(tables.webhook_deliveries)
        .where(columns.webhook_id == webhook_id, columns.state == "pending")
        .values(state="failed", error=reason, finished_ms=now_ms)
    )


def _data(row: Mapping[str, Any], seq: int) -> dict[str, Any]:
    """Ids rather than things: what they are now is one request away."""
    return {
        "job_id": row["id"],
        "job_type": row["type"],
        "seq": seq,
        "attempt": row["attempt"],
        "dataset_id": row["dataset_id"],
        "model_id": row["model_id"],
        "error_code": (row["error"] or {}).get("code"),
    }


def _rfc_3339(ms: int) -> str:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
