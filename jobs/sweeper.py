"""Takes jobs back from workers that went silent. Any number of processes may sweep."""

import time
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from jobs import leases, metrics, store, tables
from jobs.database import Database, db_now_ms
from jobs.job import LEASED_STATES

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

    def sweep(self) -> list[str]:
        """Jobs whose lease ran out go where the life cycle says; their ids are returned.

        After nobody swept for three intervals, or the database's clock jumped, holders first
        get one lease time to renew: they may be healthy and only the clock was not. That time
        is written into the leases, so the other sweepers grant it too. A clock that was set back
        is known by the last sweep of anybody, also to a process that has just begun.
        """
        metrics.SWEEPS.inc()
        with self._database.write() as connection:
            now_ms = db_now_ms(connection)
            jumped = self._clock_jumped(now_ms)
            self._last = _Clocks(database_ms=now_ms, monotonic_s=time.monotonic())
            if self._was_silent(connection, now_ms) or jumped:
                self._grant_a_lease_time(connection, now_ms)
                return []
        taken_back = list(iter(self._take_back_one, None))
        metrics.EXPIRED_LEASES.inc(len(taken_back))
        return taken_back

    def _was_silent(self, connection: Connection, now_ms: int) -> bool:
        query = select(tables.sweeps.c.last_ms)
        noted_ms = connection.execute(query).scalar()
        # of a thousand processes that sweep few wait for each other to write that they did
        if noted_ms is not None and 0 <= now_ms - noted_ms <= self._interval_ms / 2:
            return False
        previous_ms = connection.execute(query.with_for_update()).scalar()
        if previous_ms is None:
            _record_first_sweep(connection, now_ms)
            return False
        connection.execute(update(tables.sweeps).values(last_ms=now_ms))
        # a clock that was set back makes leases that would not end for as long
        return not -_CLOCK_JUMP_MS <= now_ms - previous_ms <= 3 * self._interval_ms

    def _clock_jumped(self, now_ms: int) -> bool:
        if self._last is None:
            return False
        own_ms = (time.monotonic() - self._last.monotonic_s) * 1000
        return abs((now_ms - self._last.database_ms) - own_ms) > _CLOCK_JUMP_MS

    def _grant_a_lease_time(self, connection: Connection, now_ms: int) -> None:
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.state.in_([state.value for state in LEASED_STATES]))
            .values(lease_until_ms=now_ms + self._lease_ms)
        )

    def _take_back_one(self) -> str | None:
        # each in a transaction of its own, that locks in the order of ids: see `dependencies.lock`
        columns = tables.jobs.c
        with self._database.write() as connection:
            query = (
                select(tables.jobs)
                .where(
                    columns.state.in_([state.value for state in LEASED_STATES]),
                    columns.lease_until_ms < db_now_ms(connection),
                )
                .order_by(columns.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            job = store.as_job(row)
            leases.lose(connection, job, self._max_lost, f"{job.worker_id} went silent")
            return job.id


def _record_first_sweep(connection: Connection, now_ms: int) -> None:
    try:
        with connection.begin_nested():
            connection.execute(insert(tables.sweeps).values(id=1, last_ms=now_ms))
    except IntegrityError:
        # another sweeper was first in the same moment
        return
