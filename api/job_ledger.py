"""The ledger of one job: which file it is, and its rows and sums as clients see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log
from pathlib import Path
from typing import Any

from api.ledger import Row
from api.ledger_sql import Filter, Source
from api.problems import Problem, at
from api.schemas.confusions import ClassMetrics
from api.schemas.samples import (
    Aggregate,
    Breakdown,
    ClassScore,
    SampleResource,
)
from api.services import Services
from jobs import store
from jobs.errors import ResultNotReadyError
from jobs.job import Job, JobState, JobType
from ml.theory import interpretation

_TOP = 5
_NUMBERED = frozenset({"logits", "predicted_by_epoch"})
"""Columns that count the classes instead of naming them."""
_WITH_LEDGER = frozenset({JobType.FINE_TUNE, JobType.EVALUATION})


@dataclass(frozen=True, slots=True)
class JobLedger:
    """One part's ledger; ``within`` leaves out the rows of other parts in the same file."""

    job: Job
    split: str
    file: Path
    digest: str
    classes: tuple[str, ...]
    reported_loss: float | None
    within: Filter
    columns: tuple[str, ...]
    calibration: Mapping[str, Any] | None

    @property
    def dataset_label(self) -> str:
        """SQL of the label in the dataset, which may be scored as another class."""
        return "dataset_label" if "dataset_label" in self.columns else "label"

    @property
    def has_weights(self) -> bool:
        """Whether classes had weights in the loss."""
        return "weight" in self.columns

    @property
    def mean_loss(self) -> str:
        """SQL of the mean loss of some rows, as the job computed its own."""
        return "sum(loss * weight) / sum(weight)" if self.has_weights else "avg(loss)"

    @property
    def summand(self) -> str:
        """SQL of what a row adds to the total loss."""
        return "loss * weight" if self.has_weights else "loss"

    @property
    def source(self) -> Source:
        """The part's rows for a join with those of another job."""
        loss = "plain_loss" if "plain_loss" in self.columns else "loss"
        return Source(self.file, self.within, loss)

    @property
    def chance_loss(self) -> float:
        """The loss of a guess of equal probabilities."""
        return log(len(self.classes))


def open_ledger(services: Services, job_id: str, split: str | None) -> JobLedger:
    """The job's ledger of this part; without a part the one it has.

    Raises:
        NotFoundError: no job has this id.
        ResultNotReadyError: the job has not succeeded.
        Problem: a job of this type has none, or not of this part.
    """
    job = store.get(services.database, job_id)
    if job.type not in _WITH_LEDGER:
        raise Problem("not_found", f"job {job.id} is a {job.type}, which has no samples")
    if job.state != JobState.SUCCEEDED:
        raise ResultNotReadyError(job.id, "samples", job.state)
    written: Mapping[str, Any] = job.result["samples"]
    if not written:
        detail = f"job {job.id} has no samples: its dataset has no valid part"
        raise Problem("not_found", detail)
    name, within = _part(written, split)
    file = services.artifacts.absolute(written[name]["path"])
    services.artifacts.fetched(file, digest=written[name]["digest"])
    return JobLedger(
        job=job,
        split=split or name,
        file=file,
        digest=written[name]["digest"],
        classes=tuple(job.result["classes"]),
        reported_loss=_reported(job),
        within=within,
        columns=services.ledgers.columns(file),
        # ledgers of earlier versions have none
        calibration=written[name].get("calibration", {}).get(split or name),
    )


def _part(written: Mapping[str, Any], split: str | None) -> tuple[str, Filter]:
    if split is None:
        return next(iter(written)), Filter()
    if split in written:
        return split, Filter()
    if "all" in written:
        return "all", Filter(("split = ?",), (split,))
    allowed = tuple(written)
    detail = f"this job has no ledger of the part {split!r}; it has {', '.join(allowed)}"
    raise at("/query/split", "validation_failed", detail, allowed=allowed)


def _reported(job: Job) -> float | None:
    reported: float | None = job.result.get("reported_valid_loss", job.result.get("reported_loss"))
    return reported


def sample_of(ledger: JobLedger, row: Row, *, with_probabilities: bool) -> SampleResource:
    """One row as a client sees it."""
    own = f"/v1/jobs/{ledger.job.id}/samples/{row['item_id']}"
    scores = _scores(ledger, row)
    top = sorted(scores, key=lambda score: -inf if score.logit is None else -score.logit)[:_TOP]
    return SampleResource.model_validate(
        {
            "dataset_label": row["label"],
            **{name: value for name, value in row.items() if name not in _NUMBERED},
            "predicted_by_epoch": _names(ledger, row.get("predicted_by_epoch")),
            "breakdown": Breakdown(
                logit_label=row["logit_label"],
                logsumexp=row["logsumexp"],
                loss=row["loss"] if row.get("plain_loss") is None else row["plain_loss"],
                top=top,
            ),
            "probabilities": probabilities_of(ledger, row) if with_probabilities else None,
            "image": f"{own}/image?size=256",
        }
    )


def _names(ledger: JobLedger, places: Sequence[int] | None) -> list[str] | None:
    return None if places is None else [ledger.classes[place] for place in places]


def probabilities_of(ledger: JobLedger, row: Row) -> dict[str, float | None]:
    """The softmax of the row, by class."""
    return {score.label: score.p for score in _scores(ledger, row)}


def _scores(ledger: JobLedger, row: Row) -> list[ClassScore]:
    return [
        ClassScore(label=label, logit=logit, p=_probability(logit, row["logsumexp"]))
        for label, logit in zip(ledger.classes, row["logits"], strict=True)
    ]


def _probability(logit: float, logsumexp: float | None) -> float | None:
    if logsumexp is None or not isfinite(logsumexp) or logit > logsumexp + 1:
        return None
    return exp(logit - logsumexp)


def aggregate_of(services: Services, ledger: JobLedger, chosen: Filter) -> Aggregate:
    """What the chosen rows come to."""
    (sums,) = services.ledgers.select(
        ledger.file, f"count(*) AS count, {ledger.mean_loss} AS mean_loss", chosen
    )
    return Aggregate(
        **sums, reported_valid_loss=ledger.reported_loss, chance_loss=ledger.chance_loss
    )


def confusion_counts(services: Services, ledger: JobLedger) -> list[list[int]]:
    """How often each class (row) was taken for each (column)."""
    places = {label: place for place, label in enumerate(ledger.classes)}
    counts = [[0] * len(places) for _ in places]
    pairs = services.ledgers.select(
        ledger.file, "label, predicted, count(*) AS count", ledger.within, "GROUP BY ALL"
    )
    for pair in pairs:
        counts[places[pair["label"]]][places[pair["predicted"]]] = pair["count"]
    return counts


def class_losses(services: Services, ledger: JobLedger) -> dict[str, float | None]:
    """The mean loss of each class that has photos."""
    rows = services.ledgers.select(
        ledger.file, "label, avg(loss) AS mean_loss", ledger.within, "GROUP BY label"
    )
    return {row["label"]: row["mean_loss"] for row in rows}


def class_metrics(
    score: interpretation.ClassScore, correct: int, predicted: int, losses: dict[str, Any]
) -> ClassMetrics:
    """The scores of one class; null where nothing can be divided by."""
    return ClassMetrics(
        label=score.label,
        support=score.support,
        predicted=predicted,
        correct=correct,
        precision=score.precision if predicted else None,
        recall=score.recall if score.support else None,
        f1=score.f1 if score.support or predicted else None,
        mean_loss=losses.get(score.label),
    )
