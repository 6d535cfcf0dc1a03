"""How many jobs pass through the engine in a second, and what a claim costs among many of them."""

import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from statistics import median

import structlog
from process_cost import cpu_s
from sqlalchemy import insert, select, text, update

from jobs import claims, leases, store, tables
from jobs.database import Database, db_now_ms
from jobs.job import JobType
from jobs.spec import FineTuneSpec
from tunesmith_client import Json

_LEASE_MS = 3_600_000
_OWNERS = 20
_HELD = 200
_ROWS_AT_ONCE = 1000
_TIMES = 50


def engine_rates(database: Database, *, jobs: int, claimers: int) -> Json:
    """Jobs a second: submitted by one process, then claimed, begun and ended by some.

    CPU time is that of the claiming processes, without the database server's.
    """
    began_s = time.perf_counter()
    for number in range(jobs):
        _submit(database, owner=f"owner-{number % _OWNERS}")
    submitted_s = time.perf_counter() - began_s
    processes = multiprocessing.get_context("spawn")
    ready, done = processes.Barrier(claimers + 1), processes.Queue()
    address = database.engine.url.render_as_string(hide_password=False)
    team = [processes.Process(target=_do_all, args=(address, ready, done)) for _ in range(claimers)]
    for each in team:
        each.start()
    ready.wait()
    began_s = time.perf_counter()
    counts, cpu = zip(*(done.get() for _ in team), strict=True)
    took_s = time.perf_counter() - began_s
    for each in team:
        each.join()
    assert sum(counts) == jobs  # noqa: S101  # each of them once
    return {
        "jobs": jobs,
        "submitted_per_s": round(jobs / submitted_s, 1),
        "done_per_s": round(jobs / took_s, 1),
        "claimers_cpu_ms_per_job": round(sum(cpu) / jobs * 1000, 2),
    }


def _submit(database: Database, *, owner: str) -> None:
    with database.write() as connection:
        spec = FineTuneSpec(dataset="ds_1")
        store.submit(connection, JobType.FINE_TUNE, spec, dataset_id="ds_1", owner=owner)


def _do_all(address: str, ready: Barrier, done: "Queue[tuple[int, float]]") -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    database = Database(address)
    claims.claimable_queues(database)
    ready.wait()
    count, before_s = 0, cpu_s(os.getpid())
    while job := leases.claim_next(database, "train", f"w-{os.getpid()}", lease_ms=_LEASE_MS):
        leases.enter_phase(database, job.id, job.fence, "frozen")
        leases.succeed(database, job.id, job.fence, values={"result": {}})
        count += 1
    done.put((count, cpu_s(os.getpid()) - before_s))
    database.close()


# --- what one look costs -------------------------------------------------------------------------


def claim_cost(database: Database, *, few: int, many: int) -> Json:
    """Milliseconds of looks with few and with many queued jobs; 200 are held by workers."""
    _submit(database, owner="owner-0")
    _copy(database, few - 1, start=1)
    _copy(database, _HELD, start=many, state="running", lease_until_ms=2**45)
    cheap = _costs(database)
    _copy(database, many - few, start=few)
    dear = _costs(database)
    return {
        "queued": [few, many],
        "owners": _OWNERS,
        "held": _HELD,
        **{name: [cheap[name], dear[name]] for name in cheap},
    }


def _copy(database: Database, count: int, *, start: int, **values: object) -> None:
    with database.write() as connection:
        row = connection.execute(select(tables.jobs).limit(1)).mappings().one()
        for first in range(start, start + count, _ROWS_AT_ONCE):
            numbers = range(first, min(first + _ROWS_AT_ONCE, start + count))
            copies = [
                {**row, "id": f"job_{n:026}", "owner": f"owner-{n % _OWNERS}", **values}
                for n in numbers
            ]
            connection.execute(insert(tables.jobs), copies)
    if database.engine.dialect.name == "postgresql":
        # as its autovacuum does by and by
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
            plain.execute(text("VACUUM ANALYZE jobs"))


def _costs(database: Database) -> dict[str, float]:
    with database.read() as connection:
        last = connection.scalar(
            select(tables.jobs.c.id)
            .where(tables.jobs.c.state == "queued")
            .order_by(tables.jobs.c.id.desc())
            .limit(1)
        )

    def position() -> None:
        with database.read() as connection:
            store.queue_positions(connection, [str(last)])

    return {
        "claim_ms": _median_ms(lambda: _claim(database), _TIMES),
        "next_ms": _median_ms(lambda: _look(database), _TIMES),
        "claimable_queues_ms": _median_ms(lambda: claims.claimable_queues(database), _TIMES),
        "position_of_the_last_ms": _median_ms(position, 5),
    }


def _claim(database: Database) -> None:
    job = leases.claim_next(database, "train", "benchmark", lease_ms=_LEASE_MS)
    assert job is not None  # noqa: S101  # there are more than are claimed
    with database.write() as connection:
        connection.execute(
            update(tables.jobs).where(tables.jobs.c.id == job.id).values(state="queued")
        )


def _look(database: Database) -> None:
    with database.write() as connection:
        claims.next_claimable(connection, "train", db_now_ms(connection), devices=1)


def _median_ms(do: Callable[[], object], times: int) -> float:
    do()
    took = []
    for _ in range(times):
        began_s = time.perf_counter()
        do()
        took.append((time.perf_counter() - began_s) * 1000)
    return round(median(took), 2)
