"""Which workers are there: each says so again and again; silence takes it off the list."""

from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from jobs import device_list, tables
from jobs.database import Database, db_now_ms

GONE_AFTER_MS = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker that was heard of lately; ``metrics`` is where it shows them, ``host:port``."""

    id: str
    queue: str
    device: str
    hostname: str
    pid: int
    metrics: str | None
    started_ms: int
    seen_ms: int

    @property
    def devices(self) -> int:
        """How many devices it owns, which one job of it can share."""
        return device_list.count_in(self.device)


def announce(  # noqa: PLR0913  # what a worker says of itself
    database: Database,
    *,
    worker_id: str,
    queue: str,
    device: str,
    hostname: str,
    pid: int,
    metrics: str | None = None,
) -> None:
    """The worker is on the list, seen just now."""
    columns = tables.workers.c
    with database.write() as connection:
        now_ms = db_now_ms(connection)
        known = connection.execute(
            update(tables.workers).where(columns.id == worker_id).values(seen_ms=now_ms)
        )
        if known.rowcount == 0:
            connection.execute(
                insert(tables.workers).values(
                    id=worker_id,
                    queue=queue,
                    device=device,
                    hostname=hostname,
                    pid=pid,
                    metrics=metrics,
                    started_ms=now_ms,
                    seen_ms=now_ms,
                )
            )


def withdraw(database: Database, worker_id: str) -> None:
    """The worker is off the list."""
    with database.write() as connection:
        connection.execute(delete(tables.workers).where(tables.workers.c.id == worker_id))


def present(database: Database) -> list[Worker]:
    """The workers heard of in the last `GONE_AFTER_MS`, by queue and id."""
    columns = tables.workers.c
    with database.read() as connection:
        query = (
            select(tables.workers)
            .where(columns.seen_ms >= db_now_ms(connection) - GONE_AFTER_MS)
            .order_by(columns.queue, columns.id)
        )
        return [Worker(**row._mapping) for row in connection.execute(query)]
