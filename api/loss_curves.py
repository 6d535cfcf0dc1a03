"""The loss curve of a job as columns, thinned to what a client can draw, or as CSV."""

import csv
import io
import math
from collections.abc import Sequence

from api.schemas.curves import EpochColumns, LossCurve, StepColumns
from jobs.curves import CurvePoint, EpochRow


def spacing(count: int, most: int) -> int:
    """The least distance at which ``count`` points, taken with the first and last, are ``most``."""
    return max(1, math.ceil((count - 1) / (most - 1)))


def loss_curve(
    job_id: str, shown: Sequence[CurvePoint], epochs: Sequence[EpochRow], *, count: int
) -> LossCurve:
    """The curve column by column; ``count`` is the number of points before it was thinned."""
    groups = max((len(point.lrs) for point in shown), default=0)
    return LossCurve(
        job_id=job_id,
        count=count,
        is_thinned=len(shown) < count,
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
