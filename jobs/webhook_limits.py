"""How webhooks are called; a part of the settings."""

from pydantic import BaseModel, Field


class WebhookLimits(BaseModel):
    """The part of the settings that says how long receivers have, and how many there may be."""

    webhook_timeout_s: float = Field(
        default=15.0,
        gt=0,
        le=60,
        description="seconds that a receiver has to be reached, and as many again to answer",
    )
    max_webhooks: int = Field(
        default=20, ge=0, le=1000, description="webhooks that one owner may have; 0: none"
    )
