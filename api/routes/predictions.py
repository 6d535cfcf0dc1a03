"""Predictions of the photos of a dataset: submit, read."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query, Request, Response

from api.auth import CallerDep
from api.dependencies import JobIdPath, ServicesDep
from api.evaluation_admission import checked_prediction
from api.idempotency import OnceDep
from api.job_answers import submit
from api.json_body import StrictRoute
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
from api.ledger_sql import Filter, Order
from api.negotiation import chosen_type
from api.pagination import PageDep, paged, seal, unseal
from api.prediction_ledger import (
    SORTABLE,
    PredictionLedger,
    open_predictions,
    probabilities_of,
    row_of,
)
from api.problem_kinds import DATASET_PROBLEMS
from api.problems import at, problem_responses
from api.schemas.jobs import JobResource
from api.schemas.prediction_rows import PredictionList, PredictionRow
from api.schemas.resource import DatasetIdExample, ModelIdExample
from jobs.spec import PredictionSpec

router = APIRouter(prefix="/v1", tags=["Training"], route_class=StrictRoute)


@router.post(
    "/predictions",
    operation_id="createPrediction",
    summary="Predict a dataset",
    status_code=202,
    response_model=JobResource,
    responses=problem_responses(
        "malformed_json",
        "unsupported_media_type",
        "validation_failed",
        *DATASET_PROBLEMS,
        "dataset_not_ready",
        "idempotency_key_reused",
    ),
)
def create_prediction(
    services: ServicesDep,
    caller: CallerDep,
    spec: Annotated[
        PredictionSpec, Body(examples=[{"model": ModelIdExample, "dataset": DatasetIdExample}])
    ],
    once: OnceDep,
) -> Response:
    """What a model says of every photo of a dataset; the dataset's labels count for nothing.

    The job's `predictions` then list the photos, those of which the model is least sure first.
    """
    return submit(
        services, caller, once, checked=lambda: checked_prediction(services, caller, spec)
    )


@router.get(
    "/jobs/{job_id}/predictions",
    operation_id="listPredictions",
    summary="Read the predictions of a job",
    response_model=PredictionList,
    responses={
        200: {
            "content": {
                CSV: {"example": "item_id,path,predicted\r\nitm_6b1f,beagle_87.jpg,beagle\r\n"},
                NDJSON: {"example": '{"item_id":"itm_6b1f","path":"beagle_87.jpg"}\n'},
                PARQUET: {"schema": {"type": "string", "format": "binary"}},
            }
        },
        **problem_responses("not_found", "not_acceptable", "result_not_ready", "validation_failed"),
    },
)
def list_predictions(  # noqa: PLR0913  (the query string's parts)
    request: Request,
    services: ServicesDep,
    job_id: JobIdPath,
    page: PageDep,
    *,
    predicted: Annotated[
        str | None, Query(max_length=4096, description="only taken for this class")
    ] = None,
    sort: Annotated[
        str, Query(max_length=32, description="a column, with - for largest first")
    ] = "rank",
    expand: Annotated[
        Literal["probabilities"] | None, Query(description="also logits and probabilities")
    ] = None,
) -> Response:
    """The predicted class of each photo and its probability, the least sure first.

    Sorts by rank, p_predicted, predicted, path and item_id. With `Accept: text/csv`,
    `application/x-ndjson` or `application/vnd.apache.parquet` all rows that match come as a file
    instead of a page.
    """
    ledger, order = open_predictions(services, job_id), _order(sort)
    chosen = Filter() if predicted is None else Filter(("predicted = ?",), (predicted,))
    shown = partial(row_of, ledger, with_probabilities=expand is not None)
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
    bound_to = [sort, ledger.digest, chosen.conditions, chosen.parameters]
    after = unseal(page, bound_to, fits=order.fits)
    rows, position = services.ledgers.page(
        ledger.file, chosen, order, after=after, limit=page.limit
    )
    cursor = None if position is None else seal(position, bound_to)
    listing = PredictionList(
        data=[shown(row) for row in rows],
        has_more=cursor is not None,
        next_cursor=cursor,
        counts=ledger.job.result["predicted"],
    )
    response = paged(request, listing, cursor)
    response.headers["Vary"] = "Accept"
    return response


def _as_file(ledger: PredictionLedger, shown: Callable[[Row], PredictionRow]) -> Exported:
    return Exported(
        name=f"{ledger.job.id}-predictions",
        file=ledger.file,
        columns=ledger.columns,
        classes=ledger.classes,
        orders=("rank",),
        resource=shown,
        probabilities=partial(probabilities_of, ledger),
    )


def _order(sort: str) -> Order:
    if sort.removeprefix("-") not in SORTABLE:
        detail = f"{sort!r} is not a column to sort by"
        raise at("/query/sort", "validation_failed", detail, allowed=SORTABLE)
    return Order.parse(sort)
