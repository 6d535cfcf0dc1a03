"""The predictions of one job: which file they are in, and its rows as clients see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from api.ledger import Row
from api.problems import Problem
from api.schemas.prediction_rows import PredictionRow
from api.services import Services
from jobs import store
from jobs.errors import ResultNotReadyError
from jobs.job import Job, JobState, JobType
from ml.theory import cross_entropy

SORTABLE = ("rank", "p_predicted", "predicted", "path", "item_id")


@dataclass(frozen=True, slots=True)
class PredictionLedger:
    """The predictions of one job."""

    job: Job
    file: Path
    digest: str
    classes: tuple[str, ...]


def open_predictions(services: Services, job_id: str) -> PredictionLedger:
    """The job's predictions.

    Raises:
        NotFoundError: no job has this id.
        ResultNotReadyError: the job has not succeeded.
        Problem: a job of this type has none.
    """
    job = store.get(services.database, job_id)
    if job.type != JobType.PREDICTION:
        raise Problem("not_found", f"job {job.id} is a {job.type}, which has no predictions")
    if job.state != JobState.SUCCEEDED:
        raise ResultNotReadyError(job.id, "predictions", job.state)
    written = job.result["predictions"]
    return PredictionLedger(
        job=job,
        file=services.artifacts.absolute(written["path"]),
        digest=written["digest"],
        classes=tuple(job.result["classes"]),
    )


def row_of(ledger: PredictionLedger, row: Row, *, with_probabilities: bool) -> PredictionRow:
    """One row as a client sees it."""
    logits: Sequence[float] = row["logits"]
    shares = [float(p) for p in cross_entropy.softmax([logits])[0]] if with_probabilities else None
    return PredictionRow.model_validate(
        {
            **{name: value for name, value in row.items() if name != "logits"},
            "logits": dict(zip(ledger.classes, logits, strict=True)) if shares else None,
            "probabilities": dict(zip(ledger.classes, shares, strict=True)) if shares else None,
        }
    )
