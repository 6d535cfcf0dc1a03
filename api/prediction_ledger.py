"""The predictions of one job: which file they are in, and its rows as clients see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    columns: tuple[str, ...]


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
    file = services.artifacts.absolute(written["path"])
    services.artifacts.fetched(file, digest=written["digest"])
    return PredictionLedger(
        job=job,
        file=file,
        digest=written["digest"],
        classes=tuple(job.result["classes"]),
        columns=services.ledgers.columns(file),
    )


def row_of(ledger: PredictionLedger, row: Row, *, with_probabilities: bool) -> PredictionRow:
    """One row as a client sees it."""
    wide: dict[str, Any] = {"logits": None, "probabilities": None}
    if with_probabilities:
        logits = dict(zip(ledger.classes, row["logits"], strict=True))
        wide = {"logits": logits, "probabilities": probabilities_of(ledger, row)}
    return PredictionRow.model_validate({**row, **wide})


def probabilities_of(ledger: PredictionLedger, row: Row) -> dict[str, float | None]:
    """The softmax of the row, by class."""
    logits: Sequence[float] = row["logits"]
    shares = cross_entropy.softmax([logits])[0]
    return {label: float(p) for label, p in zip(ledger.classes, shares, strict=True)}
