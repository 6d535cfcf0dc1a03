"""The loss ledger: rows, one row, what they add up to, and each photo."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import ItemIdPath, JobIdPath, ServicesDep
from api.job_ledger import JobLedger, aggregate_of, probabilities_of, sample_of
from api.ledger import Row
from api.ledger_exports import (
    CSV,
    MEDIA_TYPES,
    NDJSON,
    PARQUET,
    Exported,
    Wanted,
    check_whole,
    exported,
)
from api.ledger_query import FilterDep, LedgerDep, OrderDep
from api.ledger_sql import BY_LOSS
from api.negotiation import chosen_type
from api.pagination import PageDep, paged, seal, unseal
from api.problems import Problem, problem_responses
from api.sample_summary import summary_of
from api.schemas.resource import BINARY
from api.schemas.sample_summaries import SampleSummary
from api.schemas.samples import SampleList, SampleResource
from api.thumbnails import ThumbnailSize, thumbnail
from jobs import store

router = APIRouter(prefix="/v1/jobs/{job_id}/samples", tags=["Results"])

_PROBLEMS = problem_responses("not_found", "result_not_ready", "validation_failed")

Expand = Annotated[
    Literal["probabilities"] | None, Query(description="also show the probabilities of all classes")
]


@router.get(
    "",
    operation_id="listSamples",
    summary="See where the loss comes from",
    response_model=SampleList,
    responses={
        200: {
            "content": {
                CSV: {
                    "example": "item_id,path,label,loss\r\nitm_6b1f,beagle_87.jpg,beagle,6.21\r\n"
                },
                NDJSON: {"example": '{"item_id":"itm_6b1f","path":"beagle_87.jpg"}\n'},
                PARQUET: {"schema": {"type": "string", "format": "binary"}},
            }
        },
        **problem_responses("not_found", "not_acceptable", "result_not_ready", "validation_failed"),
    },
)
def list_samples(  # noqa: PLR0913  (the query string's parts)
    request: Request,
    services: ServicesDep,
    ledger: LedgerDep,
    chosen: FilterDep,
    order: OrderDep,
    page: PageDep,
    *,
    expand: Expand = None,
) -> Response:
    """The loss of every photo with its breakdown, worst first; the rows' mean is the valid loss.

    Sorts by any of rank, loss, p_label, p_predicted, margin, share_of_total_loss,
    label_issue_score, forgetting_events, label, predicted, correct, path and item_id; what is not
    finite comes last in both directions. With `Accept: text/csv`, `application/x-ndjson` or
    `application/vnd.apache.parquet` all rows that match come as a file instead of a page.
    """
    shown = partial(sample_of, ledger, with_probabilities=expand is not None)
    media_type = chosen_type(request, ("application/json", *MEDIA_TYPES))
    if media_type in MEDIA_TYPES:
        check_whole(request)
        wanted = Wanted(
            ledger=_as_file(ledger, shown),
            chosen=chosen,
            order=order,
            with_probabilities=expand is not None,
        )
        return exported(services, wanted, media_type)
    bound_to = [order.text, ledger.digest, chosen.conditions, chosen.parameters]
    rows, position = services.ledgers.page(
        ledger.file,
        chosen,
        order,
        after=unseal(page, bound_to, fits=order.fits),
        limit=page.limit,
    )
    cursor = None if position is None else seal(position, bound_to)
    listing = SampleList(
        data=[shown(row) for row in rows],
        has_more=cursor is not None,
        next_cursor=cursor,
        aggregate=aggregate_of(services, ledger, chosen),
    )
    response = paged(request, listing, cursor)
    response.headers["Vary"] = "Accept"
    return response


def _as_file(ledger: JobLedger, shown: Callable[[Row], SampleResource]) -> Exported:
    return Exported(
        name=f"{ledger.job.id}-samples-{ledger.split}",
        file=ledger.file,
        columns=ledger.columns,
        classes=ledger.classes,
        orders=(BY_LOSS, "rank"),
        resource=shown,
        probabilities=partial(probabilities_of, ledger),
        within=ledger.within,
    )


@router.get(
    "/summary",
    operation_id="getSampleSummary",
    summary="See the ledger in a few numbers",
    responses=_PROBLEMS,
)
def get_summary(services: ServicesDep, ledger: LedgerDep) -> SampleSummary:
    """Mean, quantiles and accuracy, and how much of the loss few photos have."""
    return summary_of(services, ledger)


@router.get(
    "/{item_id}",
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
    "/{item_id}/image",
    operation_id="getSampleImage",
    summary="See one photo",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {"schema": BINARY}}}, **_PROBLEMS},
)
def get_sample_image(
    services: ServicesDep, job_id: JobIdPath, item_id: ItemIdPath, size: ThumbnailSize = 256
) -> Response:
    """A thumbnail of the photo that the row is about."""
    job = store.get(services.database, job_id)
    if job.dataset_id is None:
        raise Problem("not_found", f"job {job.id} has no photos")
    return thumbnail(services.artifacts, job.dataset_id, item_id, size)
