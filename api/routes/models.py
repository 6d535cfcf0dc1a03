"""Trained models: list, read, edit, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from api.auth import CallerDep
from api.deletion import delete_file
from api.dependencies import ServicesDep
from api.json_body import StrictRoute
from api.negotiation import IfMatch, expected_version, stale
from api.pagination import PageDep, paged, take
from api.problems import at, problem_responses
from api.references import ModelDep
from api.schemas.models import ModelEdit, ModelList, ModelResource
from api.services import Services
from jobs import aliases, model_exports, models
from jobs.models import Model, ModelFilter

router = APIRouter(prefix="/v1/models", tags=["Models"], route_class=StrictRoute)


@router.get(
    "",
    operation_id="listModels",
    summary="List models",
    response_model=ModelList,
    responses=problem_responses("validation_failed"),
)
def list_models(  # noqa: PLR0913  (one parameter for each filter of the query string)
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    page: PageDep,
    *,
    dataset_id: Annotated[
        str | None, Query(max_length=64, description="only trained on this one")
    ] = None,
    name: Annotated[str | None, Query(max_length=200, description="only of this name")] = None,
    alias: Annotated[
        str | None, Query(max_length=64, description="only the one that it leads to")
    ] = None,
) -> Response:
    """All models of the caller's owner, newest first."""
    found = models.list_models(
        services.database,
        ModelFilter(dataset_id=dataset_id, name=name, alias=alias, owner=caller.listed_owner),
        after=page.after_id("mdl"),
        limit=page.limit + 1,
    )
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    names = aliases.of_models(services.database, [model.id for model in shown])
    data = [ModelResource.of(model, names.get(model.id, [])) for model in shown]
    return paged(request, ModelList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{model_id}",
    operation_id="getModel",
    summary="Read a model",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_model(services: ServicesDep, model: ModelDep) -> ModelResource:
    """What it was trained on, with and by, how it did, what it wants of a photo, its file's digest.

    Its classes are in the order of its outputs. The card is complete by itself: it stays when the
    dataset and the job are deleted.
    """
    return _resource(services, model)


@router.patch(
    "/{model_id}",
    operation_id="editModel",
    summary="Rename a model, move aliases",
    responses=problem_responses("not_found", "precondition_failed", "validation_failed"),
)
def edit_model(
    services: ServicesDep,
    model: ModelDep,
    edit: Annotated[
        ModelEdit, Body(examples=[{"name": "pets, second try", "aliases": ["production"]}])
    ],
    if_match: IfMatch = None,
) -> ModelResource:
    """Changes name, aliases or metadata; what is absent stays.

    `aliases` are all that lead to this model from now on. One that led to another model moves in
    the same moment, which counts as an edit of that model, too.
    """
    version = expected_version(if_match)
    edited = aliases.edit(services.database, model.id, _changes(edit), expected_version=version)
    if edited is None:
        raise stale(f"model {model.id} has another version than v{version}; read it again")
    return _resource(services, edited)


@router.delete(
    "/{model_id}",
    operation_id="deleteModel",
    summary="Delete a model",
    status_code=204,
    responses=problem_responses("not_found", "model_in_use", "validation_failed"),
)
def delete_model(services: ServicesDep, model: ModelDep) -> None:
    """Removes the model and its files; refused while an unfinished job or an alias needs it.

    The job that made it keeps everything else, and `model_id`, which then leads nowhere.
    """
    # before the row: a store that does not answer is to be told while nothing is gone yet
    exported = model_exports.onnx_files(services.artifacts, model.id)
    models.delete_model(services.database, model.id)
    for file in (services.artifacts.absolute(model.path), *exported):
        delete_file(services.artifacts, file)


def _resource(services: Services, model: Model) -> ModelResource:
    names = aliases.of_models(services.database, [model.id])
    return ModelResource.of(model, names.get(model.id, []))


def _changes(edit: ModelEdit) -> dict[str, Any]:
    changes = edit.model_dump(include=edit.model_fields_set)
    for name in ("metadata", "aliases"):
        if name in changes and changes[name] is None:
            raise at(f"/{name}", "validation_failed", f"{name} cannot be null; leave it out")
    if not changes:
        raise at("", "validation_failed", "nothing to change; send name, aliases or metadata")
    return changes
