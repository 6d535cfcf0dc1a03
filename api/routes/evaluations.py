"""Evaluations: submit."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.admission import DATASET_PROBLEMS, check_evaluation
from api.auth import CallerDep
from api.dependencies import ServicesDep
from api.idempotency import OnceDep
from api.job_answers import submit
from api.json_body import StrictRoute
from api.problems import problem_responses
from api.schemas.jobs import JobResource
from api.schemas.resource import DatasetIdExample, ModelIdExample
from jobs.spec import EvaluationSpec

router = APIRouter(prefix="/v1/evaluations", tags=["Training"], route_class=StrictRoute)

_EXAMPLE = {"model": ModelIdExample, "dataset": DatasetIdExample, "split": "valid"}


@router.post(
    "",
    operation_id="createEvaluation",
    summary="Evaluate a model",
    status_code=202,
    response_model=JobResource,
    responses=problem_responses(
        "malformed_json",
        "unsupported_media_type",
        "validation_failed",
        "labels_mismatch",
        *DATASET_PROBLEMS,
        "dataset_not_ready",
        "idempotency_key_reused",
    ),
)
def create_evaluation(
    services: ServicesDep,
    caller: CallerDep,
    spec: Annotated[EvaluationSpec, Body(examples=[_EXAMPLE])],
    once: OnceDep,
) -> Response:
    """The cross-entropy of every photo in one part of a dataset, for any model."""
    return submit(
        services, caller, once, spec, check=lambda: check_evaluation(services, caller, spec)
    )
