"""What a training writes while it runs: one point per step, one row per epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from jobs import events, moves, tables
from jobs.database import Database, db_now_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One optimiser step. ``step`` counts from 0 in the phase, ``global_step`` in the job.

    A loss that is not finite is None; ``lrs`` has one rate per layer group, the head last.
    """

    phase: str
    step: int
    global_step: int
    epoch: int
    loss: float | None
    smoothed: float | None
    lrs: Sequence[float]
    momentum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """What one epoch came to; ``epoch`` counts from 0 over the whole job.

    ``global_step`` is the number of optimiser steps taken when it ended.
    """

    epoch: int
    phase: str
    global_step: int
    train_loss: float | None
    valid_loss: float | None
    accuracy: float | None
    error_rate: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressUpdate:
    """All that is new since the last write: at most two of these are written per second."""

    progress: Mapping[str, Any]
    latest: Mapping[str, Any]
    points: Sequence[CurvePoint] = ()


def record_progress(database: Database, job_id: str, fence: int, new: ProgressUpdate) -> None:
    """The steps are on the curve, the job shows them, one ``job.progress`` event carries them.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    with database.write() as connection:
        job = moves.held(connection, job_id, fence)
        _write_points(connection, job_id, fence, new.points)
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job_id)
            .values(progress=dict(new.progress), latest={**job.latest, **new.latest})
        )
        events.append(
            connection,
            job_id,
            "job.progress",
            {
                "phase": job.phase,
                "progress": dict(new.progress),
                "latest": dict(new.latest),
                "steps": [_step_data(point) for point in new.points],
            },
            now_ms=db_now_ms(connection),
        )


def record_epoch(database: Database, job_id: str, fence: int, row: EpochRow) -> None:
    """The epoch is in the job's history, its numbers are the latest, the best are kept.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    numbers = {
        "train_loss": row.train_loss,
        "valid_loss": row.valid_loss,
        "accuracy": row.accuracy,
        "error_rate": row.error_rate,
    }
    with database.write() as connection:
        job = moves.held(connection, job_id, fence)
        key = (tables.epochs.c.job_id == job_id) & (tables.epochs.c.epoch == row.epoch)
        connection.execute(delete(tables.epochs).where(key))
        connection.execute(
            insert(tables.epochs).values(
                job_id=job_id,
                fence=fence,
                epoch=row.epoch,
                phase=row.phase,
                global_step=row.global_step,
                seconds=row.seconds,
                **numbers,
            )
        )
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job_id)
            .values(latest={**job.latest, **numbers}, best=_best(connection, job_id))
        )
        events.append(
            connection,
            job_id,
            "job.epoch_completed",
            {"epoch": row.epoch, "phase": row.phase, "seconds": row.seconds, **numbers},
            now_ms=db_now_ms(connection),
        )


def record_warning(database: Database, job_id: str, fence: int, code: str, detail: str) -> None:
    """A ``job.warning`` event tells clients what was decided for them.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    with database.write() as connection:
        moves.held(connection, job_id, fence)
        events.append(
            connection,
            job_id,
            "job.warning",
            {"code": code, "detail": detail},
            now_ms=db_now_ms(connection),
        )


def record_resolved(database: Database, job_id: str, fence: int, values: Mapping[str, Any]) -> None:
    """The job shows what was decided for it, and later attempts find it there.

    Raises:
        LeaseLostError: the job belongs to another attempt or to nobody.
    """
    with database.write() as connection:
        job = moves.held(connection, job_id, fence)
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job_id)
            .values(resolved={**job.resolved, **values})
        )


def cut_back(connection: Connection, job_id: str, steps_kept: int) -> None:
    """Only what the first ``steps_kept`` optimiser steps wrote is still there."""
    points, rows = tables.curve_points.c, tables.epochs.c
    connection.execute(
        delete(tables.curve_points).where(points.job_id == job_id, points.global_step >= steps_kept)
    )
    connection.execute(
        delete(tables.epochs).where(rows.job_id == job_id, rows.global_step > steps_kept)
    )
    connection.execute(
        update(tables.jobs).where(tables.jobs.c.id == job_id).values(best=_best(connection, job_id))
    )


def count_points(database: Database, job_id: str) -> int:
    """How many steps the whole curve has."""
    query = select(func.count()).where(tables.curve_points.c.job_id == job_id)
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def read_points(database: Database, job_id: str, *, every: int = 1) -> list[CurvePoint]:
    """Every so-many-th point of the curve and always the last, in the order of the steps."""
    columns = tables.curve_points.c
    place = func.row_number().over(order_by=columns.global_step).label("place")
    last = select(func.max(columns.global_step)).where(columns.job_id == job_id).scalar_subquery()
    placed = select(tables.curve_points, place).where(columns.job_id == job_id).subquery()
    query = (
        select(placed)
        .where(or_((placed.c.place - 1) % every == 0, placed.c.global_step == last))
        .order_by(placed.c.global_step)
    )
    with database.read() as connection:
        return [_point(row) for row in connection.execute(query)]


def read_epochs(database: Database, job_id: str) -> list[EpochRow]:
    """The epochs so far, in order."""
    columns = tables.epochs.c
    query = select(tables.epochs).where(columns.job_id == job_id).order_by(columns.epoch)
    with database.read() as connection:
        return [
            EpochRow(
                epoch=row.epoch,
                phase=row.phase,
                global_step=row.global_step,
                train_loss=row.train_loss,
                valid_loss=row.valid_loss,
                accuracy=row.accuracy,
                error_rate=row.error_rate,
                seconds=row.seconds,
            )
            for row in connection.execute(query)
        ]


def _point(row: Row[Any]) -> CurvePoint:
    return CurvePoint(
        phase=row.phase,
        step=row.step,
        global_step=row.global_step,
        epoch=row.epoch,
        loss=row.loss,
        smoothed=row.smoothed,
        lrs=tuple(row.lrs),
        momentum=row.momentum,
    )


def _write_points(
    connection: Connection, job_id: str, fence: int, points: Sequence[CurvePoint]
) -> None:
    if not points:
        return
    columns = tables.curve_points.c
    first = min(point.global_step for point in points)
    # a step that an earlier attempt wrote and this one repeats is replaced, never doubled
    connection.execute(
        delete(tables.curve_points).where(columns.job_id == job_id, columns.global_step >= first)
    )
    connection.execute(
        insert(tables.curve_points),
        [
            {"job_id": job_id, "fence": fence, "phase": point.phase, **_step_data(point)}
            for point in points
        ],
    )


def _step_data(point: CurvePoint) -> dict[str, Any]:
    return {
        "step": point.step,
        "global_step": point.global_step,
        "epoch": point.epoch,
        "loss": point.loss,
        "smoothed": point.smoothed,
        "lrs": list(point.lrs),
        "momentum": point.momentum,
    }


def _best(connection: Connection, job_id: str) -> dict[str, Any]:
    """Lowest validation loss and highest accuracy, each with the first epoch that reached it."""
    columns = tables.epochs.c
    best: dict[str, Any] = {}
    for number, rank in (
        (columns.valid_loss, columns.valid_loss.asc()),
        (columns.accuracy, columns.accuracy.desc()),
    ):
        row = connection.execute(
            select(columns.epoch, number.label("value"))
            .where(columns.job_id == job_id, number.is_not(None))
            .order_by(rank, columns.epoch)
            .limit(1)
        ).one_or_none()
        if row is not None:
            best[number.name] = {"value": row.value, "epoch": row.epoch}
    return best
