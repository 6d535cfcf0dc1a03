"""The files of a dataset: listed, and shown as thumbnails."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import DatasetIdPath, ItemIdPath, ServicesDep
from api.ledger_sql import Filter
from api.pagination import PageDep, paged, take
from api.problems import problem_responses
from api.schemas.datasets import ItemList, ItemResource
from api.schemas.resource import BINARY
from api.services import Services
from api.thumbnails import ThumbnailSize, thumbnail
from jobs import datasets
from jobs.datasets import Dataset
from jobs.errors import DatasetNotReadyError

router = APIRouter(prefix="/v1/datasets", tags=["Datasets"])


@router.get(
    "/{dataset_id}/items",
    operation_id="listDatasetItems",
    summary="List a dataset's files",
    response_model=ItemList,
    responses=problem_responses("not_found", "dataset_not_ready", "validation_failed"),
)
def list_items(  # noqa: PLR0913  (one parameter for each filter of the query string)
    request: Request,
    services: ServicesDep,
    dataset_id: DatasetIdPath,
    page: PageDep,
    *,
    label: Annotated[str | None, Query(max_length=4096, description="only this class")] = None,
    path: Annotated[str | None, Query(max_length=4096, description="only this file")] = None,
    split: Annotated[
        Literal["train", "valid", "test"] | None, Query(description="only this part")
    ] = None,
) -> Response:
    """All files of the source in the order of their ids, with size, label and part."""
    dataset = _ready(services, dataset_id)
    equal = {"label": label, "path": path, "split": split}
    chosen = Filter.of(equal, least=None, most=None)
    after = page.after_id("itm")
    window = chosen if after is None else chosen.also("item_id > ?", after)
    found = services.ledgers.select(
        services.artifacts.fetched(services.artifacts.items_file(dataset.id)),
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
        200: {"content": {"image/jpeg": {"schema": BINARY}}},
        **problem_responses("not_found", "dataset_not_ready", "validation_failed"),
    },
)
def get_item_image(
    services: ServicesDep, dataset_id: DatasetIdPath, item_id: ItemIdPath, size: ThumbnailSize = 256
) -> Response:
    """A thumbnail that was made at the import."""
    dataset = _ready(services, dataset_id)
    return thumbnail(services.artifacts, dataset.id, item_id, size)


def _ready(services: Services, dataset_id: str) -> Dataset:
    dataset = datasets.get(services.database, dataset_id)
    if dataset.state != "ready":
        raise DatasetNotReadyError(dataset.id, dataset.state)
    return dataset


def _item(dataset_id: str, row: dict[str, Any]) -> ItemResource:
    own = f"/v1/datasets/{dataset_id}/items/{row['item_id']}"
    image = f"{own}/image?size=256" if row["usable"] else None
    return ItemResource.model_validate({**row, "image": image})
