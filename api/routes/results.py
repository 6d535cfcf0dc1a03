"""What jobs leave beside the loss ledger: curves, confusion, scores per class."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import JobIdPath, ServicesDep
from api.job_ledger import class_losses, class_metrics, confusion_counts
from api.ledger_query import LedgerDep
from api.loss_curves import as_csv, loss_curve, spacing
from api.negotiation import chosen_type
from api.problems import Problem, problem_responses
from api.schemas.confusions import ClassReport, ConfusedPair, Confusion
from api.schemas.curves import LossCurve, LrCurve
from jobs import curves, store
from jobs.errors import ResultNotReadyError
from jobs.job import JobState, JobType
from ml.theory import interpretation

MOST_PAIRS = 100

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["Results"])

_PROBLEMS = problem_responses("not_found", "result_not_ready", "validation_failed")


@router.get(
    "/loss-curve",
    operation_id="getLossCurve",
    summary="See how training went",
    response_model=LossCurve,
    responses={
        200: {"content": {"text/csv": {"example": "step,epoch,phase,loss\r\n0,0,frozen,4.2\r\n"}}},
        **problem_responses("not_found", "not_acceptable", "validation_failed"),
    },
)
def get_loss_curve(
    request: Request,
    services: ServicesDep,
    job_id: JobIdPath,
    max_points: Annotated[
        int, Query(ge=2, le=100_000, description="steps to show, evenly spread")
    ] = 2000,
) -> Response:
    """Loss, momentum and every layer group's rate per step, losses and metrics per epoch.

    Works while the job runs. With `Accept: text/csv` the steps as a table.
    """
    media_type = chosen_type(request, ("application/json", "text/csv"))
    job = store.get(services.database, job_id)
    if job.type not in {JobType.LR_FIND, JobType.FINE_TUNE}:
        raise Problem("not_found", f"job {job.id} is a {job.type}, which has no loss curve")
    count = curves.count_points(services.database, job.id)
    shown = curves.read_points(services.database, job.id, every=spacing(count, max_points))
    epochs = curves.read_epochs(services.database, job.id)
    curve = loss_curve(job.id, shown, epochs, count=max(count, len(shown)))
    text = as_csv(curve) if media_type == "text/csv" else curve.model_dump_json()
    return Response(text, media_type=media_type, headers={"Vary": "Accept"})


@router.get(
    "/lr-curve",
    operation_id="getLrCurve",
    summary="See what a learning-rate find found",
    responses=_PROBLEMS,
)
def get_lr_curve(services: ServicesDep, job_id: JobIdPath) -> LrCurve:
    """The curve, the rate that each rule reads from it, and the recommendation."""
    job = store.get(services.database, job_id)
    if job.type != JobType.LR_FIND:
        raise Problem("not_found", f"job {job.id} is a {job.type}, which has no LR curve")
    if job.state != JobState.SUCCEEDED:
        raise ResultNotReadyError(job.id, "LR curve", job.state)
    return LrCurve.model_validate({**job.result["lr_curve"], "job_id": job.id})


@router.get(
    "/confusion",
    operation_id="getConfusion",
    summary="See which classes are confused",
    responses=_PROBLEMS,
)
def get_confusion(services: ServicesDep, ledger: LedgerDep) -> Confusion:
    """The confusion matrix and the most confused pairs; the counts add up to the rows."""
    counts = confusion_counts(services, ledger)
    pairs = interpretation.most_confused(counts, ledger.classes)[:MOST_PAIRS]
    count = sum(map(sum, counts))
    correct = sum(row[place] for place, row in enumerate(counts))
    return Confusion(
        job_id=ledger.job.id,
        split=ledger.split,
        labels=list(ledger.classes),
        matrix=counts,
        most_confused=[
            ConfusedPair(label=pair.actual, predicted=pair.predicted, count=pair.count)
            for pair in pairs
        ],
        count=count,
        correct=correct,
        accuracy=correct / count if count else None,
    )


@router.get(
    "/classes",
    operation_id="getClassReport",
    summary="See each class's scores",
    responses=_PROBLEMS,
)
def get_classes(services: ServicesDep, ledger: LedgerDep) -> ClassReport:
    """Precision, recall, F1 and mean loss of every class; undefined ones are null."""
    counts = confusion_counts(services, ledger)
    losses = class_losses(services, ledger)
    report = interpretation.class_report(counts, ledger.classes)
    predicted = [sum(column) for column in zip(*counts, strict=True)]
    data = [
        class_metrics(score, counts[place][place], predicted[place], losses)
        for place, score in enumerate(report.classes)
    ]
    scored = [metrics.f1 for metrics in data if metrics.support and metrics.f1 is not None]
    return ClassReport(
        job_id=ledger.job.id,
        split=ledger.split,
        data=data,
        accuracy=report.accuracy,
        macro_f1=sum(scored) / len(scored) if scored else None,
    )
