"""Webhooks: register, list, edit, delete; their secrets, and what was delivered."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query, Request, Response
from sqlalchemy import Connection

from api.auth import CallerDep
from api.dependencies import ServicesDep
from api.idempotency import Once, OnceDep, fresh
from api.json_body import StrictRoute
from api.negotiation import IfMatch, expected_version, stale
from api.pagination import PageDep, paged, take
from api.problems import at, problem_responses
from api.schemas.resource import DeliveryIdExample, WebhookIdExample
from api.schemas.webhooks import (
    DeliveryList,
    DeliveryResource,
    NewWebhookResource,
    WebhookCreate,
    WebhookEdit,
    WebhookList,
    WebhookResource,
)
from api.services import Services
from jobs import deliveries, webhooks
from jobs.deliveries import Delivery
from jobs.errors import SourceForbiddenError
from jobs.idempotency import StoredAnswer
from jobs.web_addresses import WebAddress
from jobs.webhooks import NewSecret

router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"], route_class=StrictRoute)

WebhookIdPath = Annotated[
    str, Path(max_length=64, description="id of a webhook", examples=[WebhookIdExample])
]
DeliveryIdPath = Annotated[
    str, Path(max_length=64, description="id of a delivery", examples=[DeliveryIdExample])
]
_EDIT_PROBLEMS = ("not_found", "precondition_failed", "source_forbidden", "validation_failed")
_EXAMPLE = {"url": "https://hooks.example.com/tunesmith", "events": ["job.succeeded", "job.failed"]}


@router.post(
    "",
    operation_id="createWebhook",
    summary="Register a webhook",
    status_code=201,
    response_model=NewWebhookResource,
    responses=problem_responses(
        *("malformed_json", "unsupported_media_type", "validation_failed", "source_forbidden"),
        *("quota_exceeded", "idempotency_key_reused"),
    ),
)
def create_webhook(
    services: ServicesDep,
    caller: CallerDep,
    asked: Annotated[WebhookCreate, Body(examples=[_EXAMPLE])],
    once: OnceDep,
) -> Response:
    """What happens to jobs of the caller's owner is POSTed there, signed with the secret.

    The answer holds the secret, which no other answer tells again.
    """
    _check(services, asked.url)
    return _with_secret(
        once,
        lambda connection: webhooks.create(
            connection,
            owner=caller.owner,
            url=asked.url,
            events=asked.events,
            description=asked.description,
            most=services.settings.max_webhooks,
        ),
        status=201,
    )


@router.get(
    "",
    operation_id="listWebhooks",
    summary="List webhooks",
    response_model=WebhookList,
    responses=problem_responses("validation_failed"),
)
def list_webhooks(
    request: Request, services: ServicesDep, caller: CallerDep, page: PageDep
) -> Response:
    """All webhooks of the caller's owner, newest first."""
    owner, after = caller.listed_owner, page.after_id("whk")
    found = webhooks.list_webhooks(
        services.database, owner=owner, after=after, limit=page.limit + 1
    )
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    data = [WebhookResource.of(webhook) for webhook in shown]
    return paged(request, WebhookList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{webhook_id}",
    operation_id="getWebhook",
    summary="Read a webhook",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_webhook(services: ServicesDep, webhook_id: WebhookIdPath) -> WebhookResource:
    """Where it leads, what it is told, and whether it is enabled."""
    return WebhookResource.of(webhooks.get(services.database, webhook_id))


@router.patch(
    "/{webhook_id}",
    operation_id="editWebhook",
    summary="Edit a webhook",
    responses=problem_responses(*_EDIT_PROBLEMS),
)
def edit_webhook(
    services: ServicesDep,
    webhook_id: WebhookIdPath,
    edit: Annotated[WebhookEdit, Body(examples=[{"enabled": True}])],
    if_match: IfMatch = None,
) -> WebhookResource:
    """Changes url, events, description or enabled; what is absent stays.

    What waits for a webhook that is disabled is given up; send it again by hand.
    """
    changes = _changes(edit)
    if edit.url is not None:
        _check(services, edit.url)
    version = expected_version(if_match)
    edited = webhooks.edit(services.database, webhook_id, changes, expected_version=version)
    if edited is None:
        raise stale(f"webhook {webhook_id} has another version than v{version}; read it again")
    return WebhookResource.of(edited)


@router.delete(
    "/{webhook_id}",
    operation_id="deleteWebhook",
    summary="Delete a webhook",
    status_code=204,
    responses=problem_responses("not_found", "validation_failed"),
)
def delete_webhook(services: ServicesDep, webhook_id: WebhookIdPath) -> None:
    """Removes it with its secrets and its deliveries; what is on its way may still arrive."""
    webhooks.delete_webhook(services.database, webhook_id)


@router.post(
    "/{webhook_id}/rotate-secret",
    operation_id="rotateWebhookSecret",
    summary="Change a webhook's secret",
    response_model=NewWebhookResource,
    responses=problem_responses("not_found", "validation_failed", "idempotency_key_reused"),
)
def rotate_webhook_secret(
    services: ServicesDep, webhook_id: WebhookIdPath, once: OnceDep
) -> Response:
    """A new secret signs from now on; the one before signs beside it for a day."""
    return _with_secret(
        once, lambda connection: webhooks.rotate(connection, webhook_id), status=200
    )


@router.post(
    "/{webhook_id}/test",
    operation_id="testWebhook",
    summary="Send a test to a webhook",
    status_code=202,
    response_model=DeliveryResource,
    responses=problem_responses(
        "not_found", "webhook_disabled", "validation_failed", "idempotency_key_reused"
    ),
)
def test_webhook(services: ServicesDep, webhook_id: WebhookIdPath, once: OnceDep) -> Response:
    """Delivers an event of the type `webhook.test`; read the delivery to see how it went."""
    return _due(once, lambda connection: deliveries.send_test(connection, webhook_id))


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="listDeliveries",
    summary="List deliveries",
    response_model=DeliveryList,
    responses=problem_responses("not_found", "validation_failed"),
)
def list_deliveries(
    request: Request,
    services: ServicesDep,
    webhook_id: WebhookIdPath,
    page: PageDep,
    state: Annotated[
        Literal["pending", "delivered", "failed"] | None, Query(description="only in this state")
    ] = None,
) -> Response:
    """What the webhook was told or will be, newest first."""
    found = deliveries.list_deliveries(
        services.database,
        webhook_id,
        state=state,
        after=page.after_id("dlv"),
        limit=page.limit + 1,
    )
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    data = [DeliveryResource.of(delivery) for delivery in shown]
    return paged(request, DeliveryList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{webhook_id}/deliveries/{delivery_id}",
    operation_id="getDelivery",
    summary="Read a delivery",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_delivery(
    services: ServicesDep, webhook_id: WebhookIdPath, delivery_id: DeliveryIdPath
) -> DeliveryResource:
    """What is sent, how often that was tried, and how the last attempt ended."""
    return DeliveryResource.of(deliveries.get(services.database, webhook_id, delivery_id))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    operation_id="redeliver",
    summary="Deliver again",
    status_code=202,
    response_model=DeliveryResource,
    responses=problem_responses(
        "not_found", "webhook_disabled", "validation_failed", "idempotency_key_reused"
    ),
)
def redeliver(
    services: ServicesDep,
    webhook_id: WebhookIdPath,
    delivery_id: DeliveryIdPath,
    once: OnceDep,
) -> Response:
    """Sends the same body under the same `webhook-id` now, whatever became of it before."""
    return _due(once, lambda connection: deliveries.redeliver(connection, webhook_id, delivery_id))


def _with_secret(once: Once, draw: Callable[[Connection], NewSecret], *, status: int) -> Response:
    replay = once.replayed()
    if replay is not None:
        return replay
    drawn: list[NewSecret] = []

    def act(connection: Connection) -> StoredAnswer:
        drawn.append(draw(connection))
        return _answer(drawn[0], status=status, with_secret=False)

    answer = once.create(act, then=lambda: None)
    # what is stored for equal requests must not hold the secret
    return fresh(_answer(drawn[0], status=status, with_secret=True)) if drawn else answer


def _answer(new: NewSecret, *, status: int, with_secret: bool) -> StoredAnswer:
    return StoredAnswer(
        status=status,
        headers={"Location": f"/v1/webhooks/{new.webhook.id}", "Cache-Control": "no-store"},
        body=NewWebhookResource.made(new, with_secret=with_secret).model_dump_json(),
    )


def _due(once: Once, act: Callable[[Connection], Delivery]) -> Response:
    replay = once.replayed()
    if replay is not None:
        return replay

    def answer(connection: Connection) -> StoredAnswer:
        delivery = act(connection)
        own = f"/v1/webhooks/{delivery.webhook_id}/deliveries/{delivery.id}"
        body = DeliveryResource.of(delivery).model_dump_json()
        return StoredAnswer(status=202, headers={"Location": own}, body=body)

    return once.create(answer, then=lambda: None)


def _check(services: Services, url: str) -> None:
    """The address may be called, as far as can be told without asking anybody."""
    try:
        WebAddress(url, services.settings.targets)
    except SourceForbiddenError as refusal:
        raise at("/url", "source_forbidden", str(refusal)) from refusal


def _changes(edit: WebhookEdit) -> dict[str, Any]:
    changes = edit.model_dump(mode="json", include=edit.model_fields_set)
    for name in ("url", "events", "enabled"):
        if name in changes and changes[name] is None:
            raise at(f"/{name}", "validation_failed", f"{name} cannot be null; leave it out")
    if not changes:
        detail = "nothing to change; send url, events, description or enabled"
        raise at("", "validation_failed", detail)
    return changes
