"""Evaluations: submit."""

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.auth import CallerDep
from api.dependencies import ServicesDep
from api.evaluation_admission import checked_evaluation
from api.idempotency import OnceDep
from api.job_answers import submit
from api.json_body import StrictRoute
from api.problem_kinds import DATASET_PROBLEMS
from api.problems import problem_responses
from api.schemas.jobs import JobResource
from api.schemas.resource import DatasetIdExample, ModelIdExample
from jobs.spec import EvaluationSpec

router = APIRouter(prefix="/v1/evaluations", tags=["Training"], route_class=StrictRoute)

_EXAMPLE = {"model": ModelIdExample, "dataset": DatasetIdExample, "split": "valid"}
_OTHER_LABELS = {**_EXAMPLE, "split": "all", "label_mapping": {"Beagle": "beagle", "fox": None}}
_EXAMPLES = {
    "same": {"summary": "On labels that the model knows", "value": _EXAMPLE},
    "other": {"summary": "On other labels", "value": _OTHER_LABELS},
}


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
    spec: Annotated[EvaluationSpec, Body(openapi_examples=_EXAMPLES)],
    once: OnceDep,
) -> Response:
    """The cross-entropy of every photo in one part of a dataset, for any model.

    A label that the model does not know is scored as label_mapping says, or left out.
    """
    return submit(
        services, caller, once, checked=lambda: checked_evaluation(services, caller, spec)
    )
