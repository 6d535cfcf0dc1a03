"""Versions of datasets: labels mended, photos left out."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Response

from api.auth import CallerDep
from api.dataset_answers import register_once
from api.dependencies import DatasetIdPath, ServicesDep
from api.idempotency import OnceDep
from api.json_body import StrictRoute
from api.problems import problem_responses
from api.schemas.datasets import DatasetResource
from api.schemas.resource import ItemIdExample
from api.version_admission import check_version
from jobs import datasets
from jobs.version_spec import DatasetVersion, VersionOf

router = APIRouter(prefix="/v1/datasets", tags=["Datasets"], route_class=StrictRoute)

_VERSIONS: Any = {
    "mended": {
        "summary": "A label mended, a photo left out",
        "value": {
            "relabel": [{"item": ItemIdExample, "label": "beagle"}],
            "exclude": ["itm_0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
        },
    },
}


@router.post(
    "/{dataset_id}/versions",
    operation_id="createDatasetVersion",
    summary="Mend labels, leave photos out",
    status_code=202,
    response_model=DatasetResource,
    responses=problem_responses(
        "malformed_json",
        "unsupported_media_type",
        "validation_failed",
        "not_found",
        "dataset_not_ready",
        "too_few_classes",
        "too_few_images",
        "idempotency_key_reused",
    ),
)
def create_version(
    services: ServicesDep,
    dataset_id: DatasetIdPath,
    changes: Annotated[DatasetVersion, Body(openapi_examples=_VERSIONS)],
    caller: CallerDep,
    once: OnceDep,
) -> Response:
    """Another dataset: this one with these changes; a job makes it without decoding a photo again.

    Photos keep their ids and their part. This dataset stays as it is, and both can be deleted.
    """
    replay = once.replayed()
    if replay is not None:
        return replay
    parent = datasets.get(services.database, dataset_id)
    asked = VersionOf(**dict(changes), parent=parent.id)
    check_version(services, caller, asked)
    return register_once(
        services,
        once,
        lambda connection: datasets.register_version(connection, asked, owner=caller.owner),
    )
