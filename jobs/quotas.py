"""What one owner may have at once: datasets, bytes of uploads, jobs that have not ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ColumnElement, Connection, func, select, text

from jobs import tables
from jobs.errors import QuotaExceededError
from jobs.job import FINAL_STATES
from jobs.quota_limits import QuotaLimits

Thing = Literal["datasets", "upload_bytes", "unfinished_jobs"]


@dataclass(frozen=True, slots=True)
class Quota:
    """How much of something an owner has, and may have; without a limit that is None."""

    used: int
    limit: int | None


def of_owner(connection: Connection, limits: QuotaLimits, owner: str) -> Mapping[Thing, Quota]:
    """Every quota of the owner, as this transaction sees it."""
    datasets, uploads, jobs = tables.datasets.c, tables.uploads.c, tables.jobs.c
    unfinished = jobs.state.not_in([state.value for state in FINAL_STATES])
    size_bytes = func.coalesce(func.sum(uploads.size_bytes), 0)
    return {
        "datasets": Quota(
            _one(connection, func.count(), datasets.owner == owner), limits.max_datasets or None
        ),
        "upload_bytes": Quota(
            _one(connection, size_bytes, uploads.owner == owner), limits.max_stored_bytes or None
        ),
        "unfinished_jobs": Quota(
            _one(connection, func.count(), (jobs.owner == owner) & unfinished),
            limits.max_unfinished_jobs or None,
        ),
    }


def require_within(connection: Connection, limits: QuotaLimits, owner: str) -> None:
    """What the transaction has made for the owner is within the quotas; else it must not last.

    Rivals of the same owner wait for each other, so that they cannot exceed it together.

    Raises:
        QuotaExceededError: it is not.
    """
    if not (limits.max_datasets or limits.max_stored_bytes or limits.max_unfinished_jobs):
        return
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:owner))"), {"owner": owner})
    for thing, quota in of_owner(connection, limits, owner).items():
        if quota.limit is not None and quota.used > quota.limit:
            raise QuotaExceededError(thing, quota.limit)


def _one(connection: Connection, wanted: ColumnElement[int], rows: ColumnElement[bool]) -> int:
    return int(connection.execute(select(wanted).where(rows)).scalar_one())
