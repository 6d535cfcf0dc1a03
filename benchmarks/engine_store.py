"""What the database costs: sweeps over a long history, and the writes of a training."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import insert, select

from jobs import curves, leases, store, tables
from jobs.claims import claimable_queues
from jobs.curves import CurvePoint, ProgressUpdate
from jobs.database import Database
from jobs.job import Failure, Job, JobType
from jobs.spec import FineTuneSpec
from jobs.sweeper import Sweeper
from tunesmith_client import Json

_LEASE_MS = 3_600_000
_ROWS_AT_ONCE = 1000
_BATCHES = (1, 10, 100)
_FAILURE = Failure(code="loss_diverged", message="it is over", hint="")


def sweep_cost(*, few: int, many: int, times: int) -> Json:
    """Milliseconds of each look that processes take by themselves, with few and many old jobs."""
    with _history(few) as short, _history(many) as long:
        took = {
            name: [looks(database, times) for database in (short, long)]
            for name, looks in _LOOKS.items()
        }
    return {
        "finished_jobs": [few, many],
        **{
            name: {
                "median_ms": [round(median(each), 3) for each in pair],
                "ratio": round(median(pair[1]) / median(pair[0]), 2),
            }
            for name, pair in took.items()
        },
    }


def _timed(look: Callable[[], object], times: int) -> list[float]:
    look()
    took = []
    for _ in range(times):
        began_s = time.perf_counter()
        look()
        took.append((time.perf_counter() - began_s) * 1000)
    return took


def _sweeps(database: Database, times: int) -> list[float]:
    sweeper = Sweeper(database, interval_s=5, lease_s=30, max_lost=50)
    return _timed(sweeper.sweep, times)


def _claims(database: Database, times: int) -> list[float]:
    def look() -> object:
        return leases.claim_next(database, "train", "benchmark", lease_ms=_LEASE_MS)

    return _timed(look, times)


def _queues(database: Database, times: int) -> list[float]:
    return _timed(lambda: claimable_queues(database), times)


_LOOKS = {"sweep": _sweeps, "claim_of_nothing": _claims, "claimable_queues": _queues}


@contextmanager
def _history(count: int) -> Iterator[Database]:
    """A database of this many jobs that have ended."""
    with _database() as database:
        job = _held(database)
        leases.fail(database, job.id, job.fence, _FAILURE)
        with database.write() as connection:
            row = connection.execute(select(tables.jobs)).mappings().one()
            for start in range(1, count, _ROWS_AT_ONCE):
                numbers = range(start, min(start + _ROWS_AT_ONCE, count))
                copies = [{**row, "id": f"{row['id']}-{number:06}"} for number in numbers]
                connection.execute(insert(tables.jobs), copies)
        yield database


@contextmanager
def _database() -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        database = Database(f"sqlite:///{Path(folder)}/tunesmith.db")
        try:
            database.migrate()
            yield database
        finally:
            database.close()


def _held(database: Database) -> Job:
    """A job that is claimed by us."""
    with database.write() as connection:
        store.submit(connection, JobType.FINE_TUNE, FineTuneSpec(dataset="ds_1"), dataset_id="ds_1")
    job = leases.claim_next(database, "train", "benchmark", lease_ms=_LEASE_MS)
    assert job is not None  # noqa: S101  # it has just been queued
    return job


# --- progress -------------------------------------------------------------------------------


def progress_cost(*, times: int) -> Json:
    """Milliseconds of one write of progress, and of it per step, by steps in one write."""
    with _database() as database:
        job, first, costs = _held(database), 0, {}
        for steps in _BATCHES:
            took = []
            for _ in range(times):
                update = _update(first, steps)
                began_s = time.perf_counter()
                curves.record_progress(database, job.id, job.fence, update)
                took.append((time.perf_counter() - began_s) * 1000)
                first += steps
            costs[str(steps)] = {
                "write_median_ms": round(median(took), 3),
                "per_step_ms": round(median(took) / steps, 4),
            }
        return {"steps_in_a_write": costs}


def _update(first: int, steps: int) -> ProgressUpdate:
    points = [
        CurvePoint(
            phase="unfrozen",
            step=first + number,
            global_step=first + number,
            epoch=0,
            loss=1.0,
            smoothed=1.0,
            lrs=(1e-5, 1e-4, 1e-3),
            momentum=0.9,
        )
        for number in range(steps)
    ]
    return ProgressUpdate(progress={"step": first}, latest={"train_loss": 1.0}, points=points)
