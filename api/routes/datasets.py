"""Datasets: register, list, read, edit, delete; their report and their photos."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from api.admission import check_access, check_import
from api.auth import CallerDep
from api.dataset_answers import register_once
from api.dataset_preview import preview
from api.deletion import delete_folder
from api.dependencies import DatasetIdPath, ServicesDep
from api.idempotency import OnceDep
from api.json_body import StrictRoute
from api.negotiation import IfMatch, expected_version, stale
from api.pagination import PageDep, paged, take
from api.problem_kinds import DATASET_PROBLEMS
from api.problems import at, problem_responses
from api.schemas.dataset_plans import DatasetPlan
from api.schemas.dataset_reports import ReportResource
from api.schemas.datasets import (
    DatasetEdit,
    DatasetList,
    DatasetResource,
)
from api.schemas.resource import UploadIdExample
from jobs import datasets
from jobs.dataset_spec import DatasetSpec
from jobs.errors import DatasetNotReadyError

_LISTED_CLASSES = 100
"""A page has up to 100 datasets, and a dataset may have thousands of classes."""

router = APIRouter(prefix="/v1/datasets", tags=["Datasets"], route_class=StrictRoute)

_EXAMPLES: Any = {
    "sample": {
        "summary": "Photos that the service draws itself",
        "value": {
            "name": "cats",
            "source": {"type": "sample"},
            "labels": {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"},
        },
    },
    "folder": {
        "summary": "A folder on the server",
        "value": {
            "name": "pets",
            "source": {"type": "path", "path": "/data/pets"},
            "labels": {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$", "on": "name", "group": 1,
                       "unmatched": "error"},
            "split": {"rule": "random", "valid_fraction": 0.2, "seed": 42, "stratify": True},
        },
    },
    "upload": {
        "summary": "An archive that was sent before",
        "value": {
            "name": "pets",
            "source": {"type": "upload", "upload_id": UploadIdExample},
            "labels": {"rule": "parent_folder"},
        },
    },
    "url": {
        "summary": "An archive on a web server",
        "value": {
            "name": "pets",
            "source": {
                "type": "url",
                "url": "https://example.org/pets.tar.gz",
                "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            },
            "labels": {"rule": "parent_folder"},
        },
    },
    "s3": {
        "summary": "Photos below a prefix of an object store",
        "value": {
            "name": "pets",
            "source": {"type": "s3", "url": "s3://photos/pets"},
            "labels": {"rule": "parent_folder"},
        },
    },
}  # fmt: skip


@router.post(
    "",
    operation_id="createDataset",
    summary="Register a dataset",
    status_code=202,
    response_model=DatasetResource,
    responses={
        200: {"model": DatasetPlan, "description": "A dry run; nothing was registered."},
        **problem_responses(
            "malformed_json",
            "unsupported_media_type",
            "validation_failed",
            *DATASET_PROBLEMS,
            "idempotency_key_reused",
        ),
    },
)
def create_dataset(
    services: ServicesDep,
    spec: Annotated[DatasetSpec, Body(openapi_examples=_EXAMPLES)],
    caller: CallerDep,
    once: OnceDep,
    *,
    dry_run: Annotated[
        bool, Query(description="answer what the names would make of it; register nothing")
    ] = False,
) -> Response:
    """A source of photos, a rule that labels them, a rule that splits them; import runs as a job.

    What file names alone can tell to be wrong is refused at once.
    """
    if dry_run:
        check_access(services, caller, spec)
        plan = preview(spec, services.settings)
        return Response(plan.model_dump_json(), media_type="application/json")
    replay = once.replayed()
    if replay is not None:
        return replay
    check_import(services, caller, spec)
    return register_once(
        services,
        once,
        lambda connection: datasets.register(connection, spec, owner=caller.owner),
    )


@router.get(
    "",
    operation_id="listDatasets",
    summary="List datasets",
    response_model=DatasetList,
    responses=problem_responses("validation_failed"),
)
def list_datasets(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    page: PageDep,
    parent_id: Annotated[
        str | None, Query(max_length=64, description="only versions of this dataset")
    ] = None,
) -> Response:
    """All datasets of the caller's owner, newest first."""
    found = datasets.list_datasets(
        services.database,
        after=page.after_id("ds"),
        limit=page.limit + 1,
        owner=caller.listed_owner,
        parent_id=parent_id,
    )
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    data = [DatasetResource.of(dataset, most_classes=_LISTED_CLASSES) for dataset in shown]
    return paged(request, DatasetList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{dataset_id}",
    operation_id="getDataset",
    summary="Read a dataset",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_dataset(services: ServicesDep, dataset_id: DatasetIdPath) -> DatasetResource:
    """The dataset as it is now; it can be trained on once its state is `ready`."""
    return DatasetResource.of(datasets.get(services.database, dataset_id))


@router.patch(
    "/{dataset_id}",
    operation_id="editDataset",
    summary="Rename a dataset",
    responses=problem_responses("not_found", "precondition_failed", "validation_failed"),
)
def edit_dataset(
    services: ServicesDep,
    dataset_id: DatasetIdPath,
    edit: Annotated[DatasetEdit, Body(examples=[{"name": "pets, cleaned"}])],
    if_match: IfMatch = None,
) -> DatasetResource:
    """Changes name or metadata; what is absent stays."""
    version = expected_version(if_match)
    edited = datasets.edit(services.database, dataset_id, _changes(edit), expected_version=version)
    if edited is None:
        raise stale(f"dataset {dataset_id} has another version than v{version}; read it again")
    return DatasetResource.of(edited)


@router.delete(
    "/{dataset_id}",
    operation_id="deleteDataset",
    summary="Delete a dataset",
    status_code=204,
    responses=problem_responses("not_found", "dataset_in_use", "validation_failed"),
)
def delete_dataset(services: ServicesDep, dataset_id: DatasetIdPath) -> None:
    """Removes the dataset and its thumbnails; photos in a folder of yours are never touched."""
    dataset = datasets.delete_dataset(services.database, dataset_id)
    delete_folder(services.artifacts, services.artifacts.dataset_folder(dataset.id))


@router.get(
    "/{dataset_id}/report",
    operation_id="getDatasetReport",
    summary="Read what the import found",
    responses=problem_responses("not_found", "dataset_not_ready", "validation_failed"),
)
def get_report(services: ServicesDep, dataset_id: DatasetIdPath) -> ReportResource:
    """Classes, counts, sizes, unreadable files with the reason, and warnings."""
    dataset = datasets.get(services.database, dataset_id)
    if dataset.report is None:
        raise DatasetNotReadyError(dataset.id, dataset.state)
    return ReportResource.of(dataset)


def _changes(edit: DatasetEdit) -> dict[str, Any]:
    changes = edit.model_dump(include=edit.model_fields_set)
    for name, value in changes.items():
        if value is None:
            raise at(f"/{name}", "validation_failed", f"{name} cannot be null; leave it out")
    if not changes:
        raise at("", "validation_failed", "nothing to change; send name or metadata")
    return changes
