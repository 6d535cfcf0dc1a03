"""What a thousand jobs take in the database, and a thousand rows of a ledger on the disk."""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import numpy as np
from sqlalchemy import delete, text

from jobs import curves, leases, store, tables
from jobs.curves import CurvePoint, EpochRow, ProgressUpdate
from jobs.database import Database
from jobs.job import Failure, JobType
from jobs.spec import FineTuneSpec
from tunesmith_client import Json
from worker.items import Item
from worker.ledger import Evaluated, write_ledger

_LEASE_MS = 3_600_000
_EPOCHS = 10
_STEPS_IN_A_WRITE = 5
_ROWS = 10_000
_FAILURE = Failure(code="loss_diverged", message="it is over", hint="")


def database_bytes(database: Database, *, jobs: int, steps: int) -> Json:
    """Kilobytes of a thousand jobs: without a curve, and what each thousand steps add to one job.

    Progress events, of which there is one for each write, are kept for a week.
    """
    empty = _size(database)
    for _ in range(jobs):
        _ended_job(database, steps=0)
    plain = _size(database)
    trainings = max(1, jobs // 50)
    for _ in range(trainings):
        _ended_job(database, steps=steps)
    with_curves = _size(database)
    with database.write() as connection:
        connection.execute(delete(tables.events).where(tables.events.c.type == "job.progress"))
    without_progress = _size(database)
    job_bytes = (plain - empty) / jobs
    training_bytes = (with_curves - plain) / trainings - job_bytes
    return {
        "jobs": jobs,
        "steps_in_a_write": _STEPS_IN_A_WRITE,
        "kb_per_1000_jobs": round(job_bytes),
        "kb_per_1000_steps": round(training_bytes / steps),
        "of_these_progress_events": round((with_curves - without_progress) / trainings / steps),
    }


def _ended_job(database: Database, *, steps: int) -> None:
    with database.write() as connection:
        store.submit(connection, JobType.FINE_TUNE, FineTuneSpec(dataset="ds_1"), dataset_id="ds_1")
    job = leases.claim_next(database, "train", "worker@host:1", lease_ms=_LEASE_MS)
    assert job is not None  # noqa: S101  # it has just been queued
    leases.enter_phase(database, job.id, job.fence, "unfrozen")
    for first in range(0, steps, _STEPS_IN_A_WRITE):
        curves.record_progress(database, job.id, job.fence, _update(first))
    for epoch in range(_EPOCHS if steps else 0):
        curves.record_epoch(database, job.id, job.fence, _epoch(epoch))
    leases.fail(database, job.id, job.fence, _FAILURE)


def _update(first: int) -> ProgressUpdate:
    rng = np.random.default_rng(first)
    points = [
        CurvePoint(
            phase="unfrozen",
            step=first + number,
            global_step=first + number,
            epoch=0,
            loss=float(rng.random()),
            smoothed=float(rng.random()),
            lrs=tuple(float(rate) for rate in rng.random(3)),
            momentum=0.9,
        )
        for number in range(_STEPS_IN_A_WRITE)
    ]
    progress = {"phase": "unfrozen", "step": first, "steps": 1000, "fraction": float(rng.random())}
    latest = {"train_loss": float(rng.random())}
    return ProgressUpdate(progress=progress, latest=latest, points=points)


def _epoch(number: int) -> EpochRow:
    return EpochRow(
        epoch=number,
        phase="unfrozen",
        global_step=number,
        train_loss=1 / 3,
        valid_loss=2 / 3,
        accuracy=0.7,
        error_rate=0.3,
        seconds=12.3,
    )


def _size(database: Database) -> int:
    """Bytes of the whole database, packed."""
    address = database.engine.url
    if database.engine.dialect.name == "sqlite":
        # a connection of the service's begins a transaction, in which nothing can be packed
        with closing(sqlite3.connect(str(address.database))) as plain:
            plain.execute("VACUUM")
            plain.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Path(str(address.database)).stat().st_size
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
        plain.execute(text("VACUUM FULL"))
        return int(plain.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


# --- ledgers -------------------------------------------------------------------------------------


def ledger_bytes(classes: int) -> Json:
    """Kilobytes of a thousand rows as a worker writes them; logits do not compress."""
    rng = np.random.default_rng(classes)
    logits = rng.normal(0, 3, (_ROWS, classes)).astype(np.float32)
    names = [f"class_{number:04}" for number in range(classes)]
    labels = rng.integers(classes, size=_ROWS)
    items = [
        Item(item_id=f"itm_{rng.bytes(16).hex()}", path=f"{n}.jpg", split="valid")
        for n in range(_ROWS)
    ]
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        file = Path(folder) / "ledger.parquet"
        write_ledger(file, Evaluated(items=items, classes=names, labels=labels, logits=logits))
        return {"rows": _ROWS, "kb_per_1000_rows": round(file.stat().st_size / _ROWS)}
