"""Webhooks and their deliveries as clients see them."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.resource import (
    DeliveryIdExample,
    JobIdExample,
    ListOf,
    Resource,
    Time,
    WebhookIdExample,
    example,
    optional_time_of,
    time_of,
)
from jobs.dataset_spec import Spec
from jobs.deliveries import Delivery
from jobs.outbox import ENDS, EventType
from jobs.webhooks import NewSecret, Webhook

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2000,
        description="where events are POSTed; http or https, a public address unless the operator "
        "allows others",
        examples=["https://hooks.example.com/tunesmith"],
    ),
]
Events = Annotated[
    list[Annotated[EventType, Field(strict=False)]],
    Field(min_length=1, max_length=len(EventType), description="types of events that are told"),
]
Description = Annotated[str, Field(max_length=200, description="for people")]

_WEBHOOK = {
    "id": WebhookIdExample,
    "object": "webhook",
    "url": "https://hooks.example.com/tunesmith",
    "description": "tells the team",
    "events": ["job.succeeded", "job.failed"],
    "enabled": True,
    "disabled_reason": None,
    "old_secret_until": None,
    "last_delivered_at": "2026-03-01T12:00:00.000Z",
    "created_at": "2026-03-01T11:00:00.000Z",
    "version": 1,
    "links": {
        "self": f"/v1/webhooks/{WebhookIdExample}",
        "deliveries": f"/v1/webhooks/{WebhookIdExample}/deliveries",
    },
}
_PAYLOAD = {
    "type": "job.succeeded",
    "timestamp": "2026-03-01T12:00:00.000Z",
    "data": {
        "job_id": JobIdExample,
        "job_type": "fine_tune",
        "seq": 41,
        "attempt": 1,
        "dataset_id": "ds_01jd2s4ah2f3kv8m6q0x5w9c7e",
        "model_id": "mdl_01jd2s4ah2f3kv8m6q0x5w9c7e",
        "error_code": None,
    },
}


class WebhookCreate(Spec):
    """Where to, and what about."""

    url: Url
    events: Events = Field(default=list(ENDS))
    description: Description | None = None


class WebhookEdit(Spec):
    """What is to change; what is absent stays."""

    url: Url | None = None
    events: Events | None = None
    description: Description | None = None
    enabled: bool | None = Field(
        default=None, description="false: nothing is told, and what waits is given up"
    )


class WebhookResource(Resource):
    """One webhook, without its secret."""

    model_config = example(**_WEBHOOK)

    id: str
    object: Literal["webhook"] = "webhook"
    url: str
    description: str | None
    events: list[str]
    enabled: bool
    disabled_reason: str | None = Field(description="why the service, not a client, disabled it")
    old_secret_until: Time | None = Field(
        description="until when the secret before the newest one signs, too"
    )
    last_delivered_at: Time | None
    created_at: Time
    version: int = Field(description="counts edits; send it in If-Match")
    links: dict[str, str]

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookResource":
        """The webhook as a client sees it."""
        own = f"/v1/webhooks/{webhook.id}"
        return cls(
            id=webhook.id,
            url=webhook.url,
            description=webhook.description,
            events=list(webhook.events),
            enabled=webhook.enabled,
            disabled_reason=webhook.disabled_reason,
            old_secret_until=optional_time_of(webhook.old_secret_until_ms),
            last_delivered_at=optional_time_of(webhook.last_delivered_ms),
            created_at=time_of(webhook.created_ms),
            version=webhook.version,
            links={"self": own, "deliveries": f"{own}/deliveries"},
        )


class NewWebhookResource(WebhookResource):
    """A webhook whose secret was just drawn, with it."""

    model_config = example(**_WEBHOOK | {"secret": "whsec_…"})

    secret: str | None = Field(description="shown this once; null in an answer that is replayed")

    @classmethod
    def made(cls, new: NewSecret, *, with_secret: bool) -> "NewWebhookResource":
        """The webhook as the client that made it sees it."""
        shown = WebhookResource.of(new.webhook).model_dump()
        return cls.model_validate({**shown, "secret": new.secret if with_secret else None})


class WebhookList(ListOf[WebhookResource]):
    """One page of webhooks."""


class DeliveryResource(Resource):
    """One event on its way to one webhook."""

    model_config = example(
        id=DeliveryIdExample,
        object="delivery",
        webhook_id=WebhookIdExample,
        type="job.succeeded",
        job_id=JobIdExample,
        state="delivered",
        attempts=2,
        status=204,
        error=None,
        payload=_PAYLOAD,
        created_at="2026-03-01T12:00:00.000Z",
        last_attempt_at="2026-03-01T12:00:06.000Z",
        next_attempt_at=None,
        finished_at="2026-03-01T12:00:06.000Z",
    )

    id: str = Field(description="the header `webhook-id`, the same at each attempt")
    object: Literal["delivery"] = "delivery"
    webhook_id: str
    type: str
    job_id: str | None
    state: str = Field(description="pending, delivered or failed; treat the list as open")
    attempts: int
    status: int | None = Field(description="what the receiver answered to the last attempt")
    error: str | None = Field(description="what went wrong at the last attempt")
    payload: dict[str, Any] = Field(description="the body that is sent")
    created_at: Time
    last_attempt_at: Time | None
    next_attempt_at: Time | None = Field(description="only while it is pending")
    finished_at: Time | None = Field(description="when it arrived, or was given up")

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryResource":
        """The delivery as a client sees it."""
        is_pending = delivery.state == "pending"
        return cls(
            id=delivery.id,
            webhook_id=delivery.webhook_id,
            type=delivery.type,
            job_id=delivery.job_id,
            state=delivery.state,
            attempts=delivery.attempts,
            status=delivery.status,
            error=delivery.error,
            payload=json.loads(delivery.payload),
            created_at=time_of(delivery.created_ms),
            last_attempt_at=optional_time_of(delivery.tried_ms),
            next_attempt_at=time_of(delivery.due_ms) if is_pending else None,
            finished_at=optional_time_of(delivery.finished_ms),
        )


class DeliveryList(ListOf[DeliveryResource]):
    """One page of deliveries."""
