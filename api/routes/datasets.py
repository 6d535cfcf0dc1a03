"""Datasets: register, list, read, edit, delete; their report and their photos."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from sqlalchemy import Connection

from api.admission import DATASET_PROBLEMS, check_access, check_import
from api.auth import CallerDep
from api.dataset_preview import preview
from api.deletion import delete_folder
from api.dependencies import DatasetIdPath, ItemIdPath, ServicesDep
from api.idempotency import OnceDep
from api.json_body import StrictRoute
from api.ledger_sql import Filter
from api.negotiation import IfMatch, expected_version, stale
from api.pagination import PageDep, paged, take
from api.problems import RETRY_AFTER_S, at, problem_responses
from api.schemas.dataset_plans import DatasetPlan
from api.schemas.datasets import (
    DatasetEdit,
    DatasetList,
    DatasetResource,
    ItemList,
    ItemResource,
    ReportResource,
)
from api.schemas.resource import UploadIdExample
from api.services import Services
from api.thumbnails import ThumbnailSize, thumbnail
from jobs import datasets
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.errors import DatasetNotReadyError
from jobs.idempotency import StoredAnswer

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
    registered: list[Dataset] = []

    def act(connection: Connection) -> StoredAnswer:
        registered.append(datasets.register(connection, spec, owner=caller.owner))
        return _accepted(registered[0])

    return once.create(act, then=lambda: services.doorbell.ring("prepare", registered[0].job_id))


@router.get(
    "",
    operation_id="listDatasets",
    summary="List datasets",
    response_model=DatasetList,
    responses=problem_responses("validation_failed"),
)
def list_datasets(
    request: Request, services: ServicesDep, caller: CallerDep, page: PageDep
) -> Response:
    """All datasets of the caller's owner, newest first."""
    found = datasets.list_datasets(
        services.database,
        after=page.after_id("ds"),
        limit=page.limit + 1,
        owner=caller.listed_owner,
    )
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    data = [DatasetResource.of(dataset) for dataset in shown]
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
    delete_folder(services.artifacts.dataset_folder(dataset.id))


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


@router.get(
    "/{dataset_id}/items",
    operation_id="listDatasetItems",
    summary="List a dataset's files",
    response_model=ItemList,
    responses=problem_responses("not_found", "dataset_not_ready", "validation_failed"),
)
def list_items(
    request: Request,
    services: ServicesDep,
    dataset_id: DatasetIdPath,
    page: PageDep,
    *,
    label: Annotated[str | None, Query(max_length=4096, description="only this class")] = None,
    split: Annotated[
        Literal["train", "valid", "test"] | None, Query(description="only this part")
    ] = None,
) -> Response:
    """All files of the source in the order of their ids, with size, label and part."""
    dataset = _ready(services, dataset_id)
    chosen = Filter.of({"label": label, "split": split}, least=None, most=None)
    after = page.after_id("itm")
    window = chosen if after is None else chosen.also("item_id > ?", after)
    found = services.ledgers.select(
        services.artifacts.items_file(dataset.id),
        "*",
        window,
        f"ORDER BY item_id LIMIT {page.limit + 1:d}",
    )
    rows, has_more = take(found, page.limit)
    cursor = rows[-1]["item_id"] if has_more else None
    data = [_item(dataset.id, row) for row in rows]
    return paged(request, ItemList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{dataset_id}/items/{item_id}/image",
    operation_id="getDatasetItemImage",
    summary="See a photo",
    response_class=Response,
    responses={
        200: {"content": {"image/jpeg": {}}},
        **problem_responses("not_found", "dataset_not_ready", "validation_failed"),
    },
)
def get_item_image(
    services: ServicesDep, dataset_id: DatasetIdPath, item_id: ItemIdPath, size: ThumbnailSize = 256
) -> Response:
    """A thumbnail that was made at the import."""
    dataset = _ready(services, dataset_id)
    return thumbnail(services.artifacts, dataset.id, item_id, size)


def _accepted(dataset: Dataset) -> StoredAnswer:
    return StoredAnswer(
        status=202,
        headers={"Location": f"/v1/datasets/{dataset.id}", "Retry-After": str(RETRY_AFTER_S)},
        body=DatasetResource.of(dataset).model_dump_json(),
    )


def _ready(services: Services, dataset_id: str) -> Dataset:
    dataset = datasets.get(services.database, dataset_id)
    if dataset.state != "ready":
        raise DatasetNotReadyError(dataset.id, dataset.state)
    return dataset


def _item(dataset_id: str, row: dict[str, Any]) -> ItemResource:
    own = f"/v1/datasets/{dataset_id}/items/{row['item_id']}"
    image = f"{own}/image?size=256" if row["usable"] else None
    return ItemResource.model_validate({**row, "image": image})


def _changes(edit: DatasetEdit) -> dict[str, Any]:
    changes = edit.model_dump(include=edit.model_fields_set)
    for name, value in changes.items():
        if value is None:
            raise at(f"/{name}", "validation_failed", f"{name} cannot be null; leave it out")
    if not changes:
        raise at("", "validation_failed", "nothing to change; send name or metadata")
    return changes
