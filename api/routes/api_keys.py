"""API keys: make, list, read, revoke."""

import time
from typing import Annotated

from fastapi import APIRouter, Body, Path, Request, Response
from sqlalchemy import Connection

from api.dependencies import ServicesDep
from api.idempotency import OnceDep, fresh
from api.json_body import StrictRoute
from api.pagination import PageDep, paged, take
from api.problems import at, problem_responses
from api.schemas.api_keys import (
    ApiKeyCreate,
    ApiKeyList,
    ApiKeyResource,
    KeyIdExample,
    NewApiKeyResource,
)
from jobs import keys
from jobs.idempotency import StoredAnswer
from jobs.keys import NewKey

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"], route_class=StrictRoute)

KeyIdPath = Annotated[str, Path(max_length=64, description="id of a key", examples=[KeyIdExample])]
_EXAMPLE = {"name": "notebook of ana", "owner": "ana", "scopes": ["jobs:write", "datasets:write"]}


@router.post(
    "",
    operation_id="createApiKey",
    summary="Make an API key",
    status_code=201,
    response_model=NewApiKeyResource,
    responses=problem_responses(
        "malformed_json", "unsupported_media_type", "validation_failed", "idempotency_key_reused"
    ),
)
def create_api_key(
    services: ServicesDep,
    asked: Annotated[ApiKeyCreate, Body(examples=[_EXAMPLE])],
    once: OnceDep,
) -> Response:
    """The answer holds the secret, which is kept nowhere: a lost one cannot be found again."""
    replay = once.replayed()
    if replay is not None:
        return replay
    if asked.expires_ms is not None and asked.expires_ms <= time.time() * 1000:
        raise at("/expires_at", "validation_failed", "the key would have expired already")
    made: list[NewKey] = []

    def act(connection: Connection) -> StoredAnswer:
        new = keys.create(
            connection,
            name=asked.name,
            scopes=asked.scopes,
            owner=asked.owner,
            expires_ms=asked.expires_ms,
        )
        made.append(new)
        return _created(new, with_secret=False)

    answer = once.create(act, then=lambda: None)
    # what is stored for equal requests must not hold the secret
    return fresh(_created(made[0], with_secret=True)) if made else answer


@router.get(
    "",
    operation_id="listApiKeys",
    summary="List API keys",
    response_model=ApiKeyList,
    responses=problem_responses("validation_failed"),
)
def list_api_keys(request: Request, services: ServicesDep, page: PageDep) -> Response:
    """All keys, newest first, revoked and expired ones, too."""
    found = keys.list_keys(services.database, after=page.after_id("key"), limit=page.limit + 1)
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    data = [ApiKeyResource.of(key) for key in shown]
    return paged(request, ApiKeyList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{key_id}",
    operation_id="getApiKey",
    summary="Read an API key",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_api_key(services: ServicesDep, key_id: KeyIdPath) -> ApiKeyResource:
    """Whose it is, what it allows, and when it was last used."""
    return ApiKeyResource.of(keys.get(services.database, key_id))


@router.delete(
    "/{key_id}",
    operation_id="revokeApiKey",
    summary="Revoke an API key",
    status_code=204,
    responses=problem_responses("not_found", "last_admin_key", "validation_failed"),
)
def revoke_api_key(services: ServicesDep, key_id: KeyIdPath) -> None:
    """The key opens nothing from the next request on; it stays in the list. Twice is once."""
    keys.revoke(services.database, key_id)


def _created(new: NewKey, *, with_secret: bool) -> StoredAnswer:
    return StoredAnswer(
        status=201,
        headers={"Location": f"/v1/api-keys/{new.key.id}", "Cache-Control": "no-store"},
        body=NewApiKeyResource.made(new, with_secret=with_secret).model_dump_json(),
    )
