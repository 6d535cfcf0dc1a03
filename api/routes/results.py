"""What finished jobs leave: curves, the ledger of losses, confusion, scores per class."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from api.dependencies import ItemIdPath, JobIdPath, ServicesDep
from api.job_ledger import (
    JobLedger,
    aggregate_of,
    class_metrics,
    confusion_counts,
    mean_losses,
    open_ledger,
    sample_of,
    summary_of,
)
from api.ledger import SORTABLE, Filter, Order
from api.loss_curves import as_csv, loss_curve, spacing
from api.negotiation import chosen_type
from api.pagination import PageDep, paged, seal, unseal
from api.problems import Problem, at, problem_responses
from api.schemas.curves import LossCurve, LrCurve
from api.schemas.samples import (
    ClassReport,
    ConfusedPair,
    Confusion,
    SampleList,
    SampleResource,
    SampleSummary,
)
from api.services import Services
from api.thumbnails import ThumbnailSize, thumbnail
from jobs import curves, store
from jobs.errors import ResultNotReadyError
from jobs.job import JobState, JobType
from ml.theory import interpretation

MOST_PAIRS = 100

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["Results"])

_PROBLEMS = problem_responses("not_found", "result_not_ready", "validation_failed")

SplitQuery = Annotated[
    Literal["train", "valid", "test", "all"] | None,
    Query(description="which part; the only one when left out"),
]
Expand = Annotated[
    Literal["probabilities"] | None, Query(description="also show the probabilities of all classes")
]


def get_ledger(services: ServicesDep, job_id: JobIdPath, split: SplitQuery = None) -> JobLedger:
    """The ledger that the path and the query string name."""
    return open_ledger(services, job_id, split)


LedgerDep = Annotated[JobLedger, Depends(get_ledger)]


def get_filter(  # noqa: PLR0913  (one parameter for each filter of the query string)
    ledger: LedgerDep,
    label: Annotated[str | None, Query(max_length=4096, description="only this class")] = None,
    dataset_label: Annotated[
        str | None, Query(max_length=4096, description="only this label of the dataset")
    ] = None,
    predicted: Annotated[
        str | None, Query(max_length=4096, description="only taken for this class")
    ] = None,
    correct: Annotated[bool | None, Query(description="only right or only wrong ones")] = None,
    min_loss: Annotated[
        float | None, Query(allow_inf_nan=False, description="only losses from here")
    ] = None,
    max_loss: Annotated[
        float | None, Query(allow_inf_nan=False, description="only losses up to here")
    ] = None,
) -> Filter:
    """The rows that the query string asks for."""
    asked = Filter.of(
        {"label": label, "predicted": predicted, "correct": correct},
        least=min_loss,
        most=max_loss,
    )
    if dataset_label is not None:
        asked = asked.also(f"{ledger.dataset_label} = ?", dataset_label)
    within = ledger.within
    return Filter(within.conditions + asked.conditions, within.parameters + asked.parameters)


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
    "/samples",
    operation_id="listSamples",
    summary="See where the loss comes from",
    response_model=SampleList,
    responses=_PROBLEMS,
)
def list_samples(  # noqa: PLR0913  (the query string's parts)
    request: Request,
    services: ServicesDep,
    ledger: LedgerDep,
    chosen: Annotated[Filter, Depends(get_filter)],
    page: PageDep,
    *,
    sort: Annotated[
        str, Query(max_length=32, description="a column, with - for largest first")
    ] = "-loss",
    expand: Expand = None,
) -> Response:
    """The loss of every photo with its breakdown, worst first; the rows' mean is the valid loss.

    Sorts by any of rank, loss, p_label, p_predicted, margin, share_of_total_loss, label,
    predicted, correct, path and item_id; what is not finite comes last in both directions.
    """
    order = _order(services, ledger, sort)
    bound_to = [sort, ledger.digest, chosen.conditions, chosen.parameters]
    rows, position = services.ledgers.page(
        ledger.file,
        chosen,
        order,
        after=None if page.after is None else unseal(page.after, bound_to, fits=order.fits),
        limit=page.limit,
    )
    cursor = None if position is None else seal(position, bound_to)
    listing = SampleList(
        data=[sample_of(ledger, row, with_probabilities=expand is not None) for row in rows],
        has_more=cursor is not None,
        next_cursor=cursor,
        aggregate=aggregate_of(services, ledger, chosen),
    )
    return paged(request, listing, cursor)


@router.get(
    "/samples/summary",
    operation_id="getSampleSummary",
    summary="See the ledger in a few numbers",
    responses=_PROBLEMS,
)
def get_summary(services: ServicesDep, ledger: LedgerDep) -> SampleSummary:
    """Mean, quantiles and accuracy, and how much of the loss few photos have."""
    return summary_of(services, ledger)


@router.get(
    "/samples/{item_id}",
    operation_id="getSample",
    summary="See one photo's loss",
    responses=_PROBLEMS,
)
def get_sample(
    services: ServicesDep, ledger: LedgerDep, item_id: ItemIdPath, expand: Expand = None
) -> SampleResource:
    """One row of the ledger."""
    row = services.ledgers.row(ledger.file, item_id)
    if row is None:
        raise Problem("not_found", f"job {ledger.job.id} has no sample {item_id!r}")
    return sample_of(ledger, row, with_probabilities=expand is not None)


@router.get(
    "/samples/{item_id}/image",
    operation_id="getSampleImage",
    summary="See one photo",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, **_PROBLEMS},
)
def get_sample_image(
    services: ServicesDep, job_id: JobIdPath, item_id: ItemIdPath, size: ThumbnailSize = 256
) -> Response:
    """A thumbnail of the photo that the row is about."""
    job = store.get(services.database, job_id)
    if job.dataset_id is None:
        raise Problem("not_found", f"job {job.id} has no photos")
    return thumbnail(services.artifacts, job.dataset_id, item_id, size)


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
    losses = mean_losses(services, ledger)
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


def _order(services: Services, ledger: JobLedger, sort: str) -> Order:
    try:
        order = Order.parse(sort)
    except ValueError:
        order = None
    if order is None or order.column not in services.ledgers.columns(ledger.file):
        detail = f"sort {sort!r} is no column of the ledger; use {', '.join(SORTABLE)}, or -loss"
        raise at("/query/sort", "validation_failed", detail, allowed=SORTABLE)
    return order
