"""Where a job's next attempt begins: at its newest checkpoint, or at the one before.

The files lie in the artifact store; which of them count is in the job's row.
"""

from dataclasses import dataclass

from sqlalchemy import update

from jobs import curves, events, moves, tables
from jobs.database import Database, db_now_ms


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A file in the artifact store, written after so many optimiser steps."""

    path: str
    step: int


def record(database: Database, job_id: str, fence: int, saved: Checkpoint) -> list[str]:
    """The next attempt begins at this checkpoint, which is complete on the disk.

    Returns the paths that are needed from now on: this one, and the one before, if any.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    with database.write() as connection:
        job = moves.held(connection, job_id, fence)
        earlier = _checkpoint(job.checkpoint, job.checkpoint_step)
        # written twice at one step, it is still the same file
        if earlier is None or earlier.path == saved.path:
            earlier = _checkpoint(job.earlier_checkpoint, job.earlier_checkpoint_step)
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job_id)
            .values(
                checkpoint=saved.path,
                checkpoint_step=saved.step,
                earlier_checkpoint=earlier.path if earlier else None,
                earlier_checkpoint_step=earlier.step if earlier else None,
            )
        )
        now_ms = db_now_ms(connection)
        events.append(
            connection, job_id, "job.checkpoint_saved", {"step": saved.step}, now_ms=now_ms
        )
        return [saved.path, earlier.path] if earlier else [saved.path]


def fall_back(
    database: Database, job_id: str, fence: int, *, bad: str, why: str
) -> Checkpoint | None:
    """The attempt goes on from the checkpoint before the bad one, or anew where there is none.

    Its curve is cut back to there, and a warning tells ``why`` and where it goes on. Safe to
    repeat: where the newest checkpoint is another than the bad one, it is returned.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    with database.write() as connection:
        job = moves.held(connection, job_id, fence)
        if job.checkpoint != bad:
            return _checkpoint(job.checkpoint, job.checkpoint_step)
        earlier = _checkpoint(job.earlier_checkpoint, job.earlier_checkpoint_step)
        step = earlier.step if earlier else 0
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job_id)
            .values(
                checkpoint=earlier.path if earlier else None,
                checkpoint_step=step,
                earlier_checkpoint=None,
                earlier_checkpoint_step=None,
            )
        )
        curves.cut_back(connection, job_id, step)
        where = f"goes on from the one before, after step {step}" if earlier else "begins anew"
        told = {"code": "checkpoint_corrupt", "detail": f"{why}; the training {where}"}
        events.append(connection, job_id, "job.warning", told, now_ms=db_now_ms(connection))
        return earlier


def _checkpoint(path: str | None, step: int | None) -> Checkpoint | None:
    return None if path is None else Checkpoint(path, step or 0)
