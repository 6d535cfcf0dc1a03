"""Which photos a job got right that another got wrong, and whose loss changed most."""

from collections.abc import Mapping, Sequence
from typing import Any

from api.job_ledger import JobLedger, open_ledger
from api.ledger import Row
from api.schemas.comparisons import ChangedSample, ComparedSamples, SampleChanges, SideOfSample
from api.services import Services
from jobs.job import Job, JobState

_FIXED = "NOT before.correct AND after.correct"
_BROKEN = "before.correct AND NOT after.correct"
_CHANGE = "after.loss - before.loss"
_IN_BOTH = "before.item_id IS NOT NULL AND after.item_id IS NOT NULL"
_SIDE = ("label", "predicted", "correct", "loss", "p_label")

_COUNTS = f"""
    count(*) FILTER ({_IN_BOTH}) AS count,
    count(*) FILTER (after.item_id IS NULL) AS only_before,
    count(*) FILTER (before.item_id IS NULL) AS only_after,
    count(*) FILTER (before.correct AND after.correct) AS both_right,
    count(*) FILTER (NOT before.correct AND NOT after.correct) AS both_wrong,
    count(*) FILTER ({_FIXED}) AS fixed,
    count(*) FILTER ({_BROKEN}) AS broken,
    avg(before.loss) FILTER ({_IN_BOTH}) AS mean_loss_before,
    avg(after.loss) FILTER ({_IN_BOTH}) AS mean_loss_after
"""
_CHANGED = f"after.item_id AS item_id, after.path AS path, {_CHANGE} AS loss_change, " + ", ".join(
    f"{side}.{name} AS {side}_{name}" for side in ("before", "after") for name in _SIDE
)


def common_part(jobs: Sequence[Job], split: str | None) -> str | None:
    """The part that all jobs have a ledger of; None where there is none."""
    of_all = [_parts(job) for job in jobs]
    wanted = [split] if split is not None else list(of_all[0])
    return next((name for name in wanted if all(name in parts for parts in of_all)), None)


def _parts(job: Job) -> Mapping[str, Any]:
    """The ledgers of a job by their part; one of all parts holds each of them."""
    if job.state != JobState.SUCCEEDED:
        return {}
    written: Mapping[str, Any] = job.result.get("samples") or {}
    whole = written.get("all")
    if whole is None:
        return written
    # an earlier version did not say which parts there are
    return {**written, **dict.fromkeys(whole.get("calibration", ("train", "valid", "test")), whole)}


def compared_samples(
    services: Services, jobs: Sequence[Job], split: str, limit: int
) -> ComparedSamples:
    """The photos of the first job beside those of each other one, joined by their ids."""
    first, *others = [open_ledger(services, job.id, split) for job in jobs]
    return ComparedSamples(
        split=split,
        baseline=first.job.id,
        changes=[_changes(services, first, other, limit) for other in others],
    )


def _changes(services: Services, before: JobLedger, after: JobLedger, limit: int) -> SampleChanges:
    def joined(expressions: str, tail: str = "") -> list[Row]:
        return services.ledgers.joined(before.source, after.source, expressions, tail)

    def changed(condition: str, order: str) -> list[ChangedSample]:
        tail = f"WHERE {condition} ORDER BY {order} NULLS LAST, item_id LIMIT {limit:d}"
        return [_changed(row) for row in joined(_CHANGED, tail)]

    (counts,) = joined(_COUNTS)
    return SampleChanges(
        job_id=after.job.id,
        **counts,
        fixed_samples=changed(_FIXED, "loss_change"),
        broken_samples=changed(_BROKEN, "loss_change DESC"),
        most_changed=changed(_IN_BOTH, "abs(loss_change) DESC"),
    )


def _changed(row: Row) -> ChangedSample:
    return ChangedSample(
        item_id=row["item_id"],
        path=row["path"],
        loss_change=row["loss_change"],
        before=_side(row, "before"),
        after=_side(row, "after"),
    )


def _side(row: Row, side: str) -> SideOfSample:
    return SideOfSample.model_validate({name: row[f"{side}_{name}"] for name in _SIDE})
