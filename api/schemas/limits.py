"""What a caller may ask for and have, and how much of it is used."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import Resource, example


class QuotaResource(Resource):
    """How much there is of something, and how much there may be."""

    used: int
    limit: int | None = Field(description="null: any amount")


class Quotas(Resource):
    """What the caller's owner may have at once."""

    datasets: QuotaResource
    upload_bytes: QuotaResource
    unfinished_jobs: QuotaResource = Field(description="that wait or run")


class SourceSizes(Resource):
    """What one request or one dataset may have."""

    body_bytes: int
    upload_bytes: int
    unpacked_bytes: int
    photos: int
    classes: int
    photo_bytes: int
    photo_pixels: int


class LimitsResource(Resource):
    """Everything that is limited for the caller."""

    model_config = example(
        object="limits",
        requests_per_minute=1200,
        quotas={
            "datasets": {"used": 12, "limit": 100},
            "upload_bytes": {"used": 811706944, "limit": None},
            "unfinished_jobs": {"used": 3, "limit": 50},
        },
        sizes={
            "body_bytes": 33554432,
            "upload_bytes": 10737418240,
            "unpacked_bytes": 53687091200,
            "photos": 500000,
            "classes": 10000,
            "photo_bytes": 268435456,
            "photo_pixels": 100000000,
        },
    )

    object: Literal["limits"] = "limits"
    requests_per_minute: int | None = Field(
        description="of the key that asks; null: any number, or no key"
    )
    quotas: Quotas
    sizes: SourceSizes
