"""Architectures: list, read."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from api.pagination import PageDep, paged, take_names
from api.problems import Problem, problem_responses
from api.schemas.architectures import ArchitectureList, ArchitectureResource
from ml.theory import architectures
from ml.theory.architectures import UnknownArchitectureError

router = APIRouter(prefix="/v1/architectures", tags=["Architectures"])


@router.get(
    "",
    operation_id="listArchitectures",
    summary="List architectures",
    response_model=ArchitectureList,
    responses=problem_responses("validation_failed"),
)
def list_architectures(request: Request, page: PageDep) -> Response:
    """The networks that can be fine-tuned, with their layer groups."""
    shown, cursor = take_names(architectures.names(), page)
    data = [ArchitectureResource.of(architectures.get(name)) for name in shown]
    listing = ArchitectureList(data=data, has_more=cursor is not None, next_cursor=cursor)
    return paged(request, listing, cursor)


@router.get(
    "/{name}",
    operation_id="getArchitecture",
    summary="Read an architecture",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_architecture(
    name: Annotated[str, Path(max_length=100, examples=["resnet34"])],
) -> ArchitectureResource:
    """One network: its layer groups with their modules, its weights, its smallest photo."""
    try:
        return ArchitectureResource.of(architectures.get(name))
    except UnknownArchitectureError as unknown:
        raise Problem("not_found", str(unknown)) from unknown
