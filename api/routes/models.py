"""Trained models: list, read, download, delete."""

import base64
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse

from api.auth import CallerDep
from api.deletion import delete_file
from api.dependencies import ModelIdPath, ServicesDep
from api.negotiation import IfNoneMatch, check_range, holds_newest
from api.pagination import PageDep, paged, take
from api.problems import Problem, problem_responses
from api.schemas.models import ModelList, ModelResource
from jobs import models

router = APIRouter(prefix="/v1/models", tags=["Models"])


@router.get(
    "",
    operation_id="listModels",
    summary="List models",
    response_model=ModelList,
    responses=problem_responses("validation_failed"),
)
def list_models(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    page: PageDep,
    dataset_id: Annotated[
        str | None, Query(max_length=64, description="only trained on this one")
    ] = None,
) -> Response:
    """All models of the caller's owner, newest first."""
    found = models.list_models(
        services.database,
        dataset_id=dataset_id,
        after=page.after_id("mdl"),
        limit=page.limit + 1,
        owner=caller.listed_owner,
    )
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    data = [ModelResource.of(model) for model in shown]
    return paged(request, ModelList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{model_id}",
    operation_id="getModel",
    summary="Read a model",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_model(services: ServicesDep, model_id: ModelIdPath) -> ModelResource:
    """What the model was trained on, its classes in the order of its outputs, its digest."""
    return ModelResource.of(models.get(services.database, model_id))


@router.delete(
    "/{model_id}",
    operation_id="deleteModel",
    summary="Delete a model",
    status_code=204,
    responses=problem_responses("not_found", "model_in_use", "validation_failed"),
)
def delete_model(services: ServicesDep, model_id: ModelIdPath) -> None:
    """Removes the model and its file; refused while a job that is not finished needs it.

    The job that made it keeps everything else, and `model_id`, which then leads nowhere.
    """
    model = models.delete_model(services.database, model_id)
    delete_file(services.artifacts.absolute(model.path))


@router.get(
    "/{model_id}/download",
    operation_id="downloadModel",
    summary="Download a model",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"description": "The bytes that Range asks for."},
        304: {"description": "The file is still as in If-None-Match."},
        **problem_responses("not_found", "range_not_satisfiable", "validation_failed"),
    },
)
def download_model(
    services: ServicesDep,
    model_id: ModelIdPath,
    file_format: Annotated[
        Literal["safetensors"], Query(alias="format", description="file format")
    ] = "safetensors",
    if_none_match: IfNoneMatch = None,
    byte_range: Annotated[
        str | None, Header(alias="range", description="bytes=0-99 sends these only")
    ] = None,
    if_range: Annotated[
        str | None, Header(description="the ETag that Range counts for; else all is sent")
    ] = None,
) -> Response:
    """The weights as a safetensors file; Range, If-Range and If-None-Match work."""
    model = models.get(services.database, model_id)
    file = services.artifacts.absolute(model.path)
    if not file.is_file():
        raise Problem("not_found", f"the file of model {model.id} is not in the artifact store")
    etag = f'"{model.digest}"'
    if holds_newest(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    if byte_range is not None and if_range in {None, etag}:
        check_range(byte_range, file.stat().st_size)
    digest = base64.b64encode(bytes.fromhex(model.digest)).decode()
    return FileResponse(
        file,
        media_type="application/octet-stream",
        filename=f"{model.id}.{file_format}",
        headers={"ETag": etag, "Repr-Digest": f"sha-256=:{digest}:"},
    )
