"""The loss curve of a job as columns, thinned to what a client can draw, or as CSV."""

import csv
import io
from collections.abc import Sequence

from api.schemas.curves import EpochColumns, LossCurve, StepColumns
from jobs.curves import CurvePoint, EpochRow


def thinned(points: Sequence[CurvePoint], most: int) -> list[CurvePoint]:
    """At most ``most`` of the points, evenly spread, with the first and the last."""
    if len(points) <= most:
        return list(points)
    last = len(points) - 1
    return [points[place * last // (most - 1)] for place in range(most)]


def loss_curve(
    job_id: str, points: Sequence[CurvePoint], epochs: Sequence[EpochRow], *, most: int
) -> LossCurve:
    """The curve column by column."""
    shown = thinned(points, most)
    groups = max((len(point.lrs) for point in shown), default=0)
    return LossCurve(
        job_id=job_id,
        count=len(points),
        is_thinned=len(shown) < len(points),
        steps=StepColumns(
            step=[point.global_step for point in shown],
            epoch=[point.epoch for point in shown],
            phase=[point.phase for point in shown],
            loss=[point.loss for point in shown],
            smoothed=[point.smoothed for point in shown],
            momentum=[point.momentum for point in shown],
            lr=[[_rate(point, group) for point in shown] for group in range(groups)],
        ),
        epochs=EpochColumns(
            epoch=[row.epoch for row in epochs],
            phase=[row.phase for row in epochs],
            step=[row.global_step for row in epochs],
            train_loss=[row.train_loss for row in epochs],
            valid_loss=[row.valid_loss for row in epochs],
            accuracy=[row.accuracy for row in epochs],
            error_rate=[row.error_rate for row in epochs],
            seconds=[row.seconds for row in epochs],
        ),
    )


def as_csv(curve: LossCurve) -> str:
    """One line per step; an empty field is a loss that was not finite."""
    steps = curve.steps
    columns = {
        "step": steps.step,
        "epoch": steps.epoch,
        "phase": steps.phase,
        "loss": steps.loss,
        "smoothed": steps.smoothed,
        "momentum": steps.momentum,
        **{f"lr_{group}": rates for group, rates in enumerate(steps.lr)},
    }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _rate(point: CurvePoint, group: int) -> float | None:
    return point.lrs[group] if group < len(point.lrs) else None
