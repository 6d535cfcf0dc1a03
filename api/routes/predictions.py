"""Predictions of the photos of a dataset: submit, read."""

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Query, Request, Response

from api.auth import CallerDep
from api.dependencies import JobIdPath, ServicesDep
from api.evaluation_admission import checked_prediction
from api.idempotency import OnceDep
from api.job_answers import Queue, queue_once
from api.json_body import StrictRoute
from api.ledger_sql import Filter, Order
from api.pagination import PageDep, paged, seal, unseal
from api.prediction_ledger import SORTABLE, open_predictions, row_of
from api.problem_kinds import DATASET_PROBLEMS
from api.problems import at, problem_responses
from api.schemas.jobs import JobResource
from api.schemas.prediction_rows import PredictionList
from api.schemas.resource import DatasetIdExample, ModelIdExample
from jobs import submission
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

    def prepare() -> Queue:
        checked = checked_prediction(services, caller, spec)
        return lambda connection: submission.submit(connection, checked, owner=caller.owner)

    return queue_once(services, once, prepare)


@router.get(
    "/jobs/{job_id}/predictions",
    operation_id="listPredictions",
    summary="Read the predictions of a job",
    response_model=PredictionList,
    responses=problem_responses("not_found", "result_not_ready", "validation_failed"),
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

    Sorts by rank, p_predicted, predicted, path and item_id.
    """
    ledger, order = open_predictions(services, job_id), _order(sort)
    chosen = Filter() if predicted is None else Filter(("predicted = ?",), (predicted,))
    bound_to = [sort, ledger.digest, chosen.conditions, chosen.parameters]
    after = unseal(page, bound_to, fits=order.fits)
    rows, position = services.ledgers.page(
        ledger.file, chosen, order, after=after, limit=page.limit
    )
    cursor = None if position is None else seal(position, bound_to)
    listing = PredictionList(
        data=[row_of(ledger, row, with_probabilities=expand is not None) for row in rows],
        has_more=cursor is not None,
        next_cursor=cursor,
        counts=ledger.job.result["predicted"],
    )
    return paged(request, listing, cursor)


def _order(sort: str) -> Order:
    if sort.removeprefix("-") not in SORTABLE:
        detail = f"{sort!r} is not a column to sort by"
        raise at("/query/sort", "validation_failed", detail, allowed=SORTABLE)
    return Order.parse(sort)
