"""Takes jobs back from workers that went silent. Any number of processes may sweep."""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from jobs import leases, store, tables
from jobs.database import Database, db_now_ms
from jobs.job import LEASED_STATES, JobState

_CLOCK_JUMP_MS = 5_000


@dataclass(slots=True)
class _Clocks:
    database_ms: int
    monotonic_s: float


class Sweeper:
    """Looks for due leases, carefully after a silence or a jump of the clock."""

    def __init__(
        self, database: Database, *, interval_s: float, lease_s: float, max_lost: int
    ) -> None:
        self._database = database
        self._interval_ms = int(interval_s * 1000)
        self._lease_ms = int(lease_s * 1000)
        self._max_lost = max_lost
        self._last: _Clocks | None = None
        self._patient_until_s = 0.0

    def sweep(self) -> list[str]:
        """Jobs whose lease ran out go where the life cycle says; their ids are returned.

        After nobody swept for three intervals, or the database's clock jumped, holders first
        get one lease time to renew: they may be healthy and only the clock was not.
        """
        with self._database.write() as connection:
            now_ms = db_now_ms(connection)
            if self._silence_or_jump(connection, now_ms):
                self._patient_until_s = time.monotonic() + self._lease_ms / 1000
            self._last = _Clocks(database_ms=now_ms, monotonic_s=time.monotonic())
            if time.monotonic() < self._patient_until_s:
                return []
            return self._take_back_due(connection, now_ms)

    def _silence_or_jump(self, connection: Connection, now_ms: int) -> bool:
        previous_ms = connection.execute(select(tables.sweeps.c.last_ms)).scalar()
        if previous_ms is None:
            connection.execute(insert(tables.sweeps).values(id=1, last_ms=now_ms))
        else:
            connection.execute(update(tables.sweeps).values(last_ms=now_ms))
        silent = previous_ms is not None and now_ms - previous_ms > 3 * self._interval_ms
        return silent or self._clock_jumped(now_ms)

    def _clock_jumped(self, now_ms: int) -> bool:
        if self._last is None:
            return False
        own_ms = (time.monotonic() - self._last.monotonic_s) * 1000
        return abs((now_ms - self._last.database_ms) - own_ms) > _CLOCK_JUMP_MS

    def _take_back_due(self, connection: Connection, now_ms: int) -> list[str]:
        columns = tables.jobs.c
        query = (
            select(tables.jobs)
            .where(
                columns.state.in_([state.value for state in LEASED_STATES]),
                columns.lease_until_ms < now_ms,
            )
            .with_for_update(skip_locked=True)
        )
        taken = []
        for row in connection.execute(query).all():
            job = store.as_job(row)
            leases.lose(connection, job, self._max_lost, f"{job.worker_id} went silent")
            taken.append(job.id)
        return taken


def claimable_queues(database: Database) -> list[str]:
    """Queues in which a job could be claimed now."""
    columns = tables.jobs.c
    with database.read() as connection:
        query = (
            select(columns.queue)
            .where(
                columns.state == JobState.QUEUED.value,
                columns.not_before_ms <= db_now_ms(connection),
            )
            .distinct()
        )
        return sorted(connection.scalars(query))
