"""A ledger in a few numbers."""

from collections import Counter
from collections.abc import Mapping

from api.job_ledger import JobLedger
from api.schemas.sample_summaries import (
    Calibration,
    HardClass,
    LabelCount,
    LabelIssueCount,
    LearningCounts,
    LeftOutPhotos,
    LossQuantiles,
    SampleSummary,
)
from api.services import Services
from jobs import models
from jobs.errors import NotFoundError
from jobs.job import JobType

MOST_CLASSES = 5

_SUMMARY = """
    count(*) AS count,
    count(*) FILTER (correct) AS correct,
    count(*) FILTER (loss IS NULL OR NOT isfinite(loss)) AS not_finite,
    quantile_cont(loss, 0.5) FILTER (isfinite(loss)) AS p50,
    quantile_cont(loss, 0.9) FILTER (isfinite(loss)) AS p90,
    quantile_cont(loss, 0.99) FILTER (isfinite(loss)) AS p99,
    max(loss) FILTER (isfinite(loss)) AS max
"""


def summary_of(services: Services, ledger: JobLedger) -> SampleSummary:
    """The ledger in a few numbers."""
    columns = f"{ledger.mean_loss} AS mean_loss, {_SUMMARY}"
    (sums,) = services.ledgers.select(ledger.file, columns, ledger.within)
    count = sums["count"]
    return SampleSummary(
        job_id=ledger.job.id,
        split=ledger.split,
        count=count,
        correct=sums["correct"],
        accuracy=sums["correct"] / count if count else None,
        mean_loss=sums["mean_loss"],
        reported_valid_loss=ledger.reported_loss,
        chance_loss=ledger.chance_loss,
        not_finite=sums["not_finite"],
        loss=LossQuantiles(p50=sums["p50"], p90=sums["p90"], p99=sums["p99"], max=sums["max"]),
        share_of_loss_in_worst_tenth=_worst_tenth(services, ledger, count),
        hardest_classes=_hardest_classes(services, ledger),
        learning=_learning(services, ledger),
        label_issues=_label_issues(services, ledger),
        calibration=_calibration(ledger),
        left_out=_left_out(ledger),
    )


def _hardest_classes(services: Services, ledger: JobLedger) -> list[HardClass]:
    columns = (
        f"label, count(*) AS count, count(*) FILTER (correct) AS correct, "
        f"{ledger.mean_loss} AS mean_loss, "
        f"sum({ledger.summand}) / sum(sum({ledger.summand})) OVER () AS share_of_total_loss"
    )
    tail = f"GROUP BY label ORDER BY mean_loss DESC NULLS LAST, label LIMIT {MOST_CLASSES:d}"
    rows = services.ledgers.select(ledger.file, columns, ledger.within, tail)
    return [HardClass.model_validate(row) for row in rows]


def _learning(services: Services, ledger: JobLedger) -> LearningCounts | None:
    if "learning" not in ledger.columns:
        return None
    rows = services.ledgers.select(
        ledger.file, "learning, count(*) AS count", ledger.within, "GROUP BY learning"
    )
    return LearningCounts.model_validate({row["learning"]: row["count"] for row in rows})


def _label_issues(services: Services, ledger: JobLedger) -> LabelIssueCount | None:
    if "is_label_issue" not in ledger.columns:
        return None
    (row,) = services.ledgers.select(
        ledger.file, "count(*) FILTER (is_label_issue) AS count", ledger.within
    )
    return LabelIssueCount(count=row["count"], is_out_of_sample=_is_out_of_sample(services, ledger))


def _is_out_of_sample(services: Services, ledger: JobLedger) -> bool | None:
    """Whether the model has learned from none of the photos; None where that is not known."""
    if ledger.job.type == JobType.FINE_TUNE:
        return True
    try:
        model = models.get(services.database, ledger.job.spec["model"])
    except NotFoundError:
        return None
    if model.dataset_id != ledger.job.dataset_id:
        return None
    return ledger.split not in {"train", "all"}


def _calibration(ledger: JobLedger) -> Calibration | None:
    return None if ledger.calibration is None else Calibration.model_validate(ledger.calibration)


def _left_out(ledger: JobLedger) -> LeftOutPhotos:
    """The photos of the chosen part that the job did not score; of all parts, where it is all."""
    written: Mapping[str, Mapping[str, int]] = ledger.job.result.get("left_out", {})
    chosen = [counts for part, counts in written.items() if ledger.split in {part, "all"}]
    total: Counter[str] = Counter()
    for counts in chosen:
        total.update(counts)
    labels = [LabelCount(label=label, count=total[label]) for label in sorted(total)]
    return LeftOutPhotos(count=total.total(), labels=labels)


def _worst_tenth(services: Services, ledger: JobLedger, count: int) -> float | None:
    """The share of the chosen part's loss that its ``count / 10`` worst rows have."""
    loss = ledger.summand
    places = f"ORDER BY {loss} DESC NULLS LAST LIMIT {max(count // 10, 1):d}"
    finite = ledger.within.also("isfinite(loss)")
    worst = services.ledgers.select(ledger.file, f"{loss} AS loss", finite, places)
    (total,) = services.ledgers.select(ledger.file, f"sum({loss}) AS loss", finite)
    if not total["loss"]:
        return None
    return float(sum(row["loss"] for row in worst) / total["loss"])
