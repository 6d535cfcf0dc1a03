"""The bases of all answers: a resource, a list of them, and times as clients read them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

Entry = TypeVar("Entry")

JobIdExample = "job_01jd2s4ah2f3kv8m6q0x5w9c7e"
DatasetIdExample = "ds_01jd2s4ah2f3kv8m6q0x5w9c7e"
ModelIdExample = "mdl_01jd2s4ah2f3kv8m6q0x5w9c7e"
UploadIdExample = "upl_01jd2s4ah2f3kv8m6q0x5w9c7e"
WebhookIdExample = "whk_01jd2s4ah2f3kv8m6q0x5w9c7e"
DeliveryIdExample = "dlv_01jd2s4ah2f3kv8m6q0x5w9c7e"
ItemIdExample = "itm_6b1f2ad3c40e5b7c9d8e0f1a2b3c4d5e"

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


BINARY = {"type": "string", "format": "binary"}
"""The schema of an answer that is a file."""


class Resource(BaseModel):
    """What clients see; numbers that are not finite are sent as null."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class ListOf(Resource, Generic[Entry]):
    """One page of a list."""

    object: Literal["list"] = "list"
    data: list[Entry]
    has_more: bool = Field(default=False, description="whether another page follows")
    next_cursor: str | None = Field(default=None, description="send it as `after`")


class Cause(Resource):
    """The job whose end took this one along."""

    job_id: str = Field(examples=[JobIdExample])
    code: str = Field(examples=["labels_unmatched"])
    message: str = Field(examples=["41 of 370 names do not match"])


class Error(Resource):
    """Why a job or an import failed."""

    code: str = Field(examples=["labels_unmatched"])
    message: str = Field(examples=["41 of 370 names do not match"])
    hint: str = Field(default="", examples=["41 names end in .png"])
    phase: str | None = Field(default=None, description="phase of the job at that time")
    retryable: bool = Field(default=False, description="whether the same job may succeed later")
    cause: Cause | None = Field(default=None, description="only with `dependency_failed`")


def _dated(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("send a time as RFC 3339 has it, such as 2026-03-01T12:00:00Z")


DATED = BeforeValidator(_dated)
"""Of times that clients send: seconds since 1970, which pydantic takes as well, are refused."""


def _rfc_3339(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[
    datetime,
    PlainSerializer(_rfc_3339, return_type=str, when_used="json"),
    Field(description="RFC 3339, UTC", examples=["2026-03-01T12:00:00.000Z"]),
]


def time_of(ms: int) -> datetime:
    """The instant that the database keeps as milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def optional_time_of(ms: int | None) -> datetime | None:
    """As `time_of`, for columns that may be empty."""
    return None if ms is None else time_of(ms)


def example(**values: Any) -> ConfigDict:  # noqa: ANN401  (any JSON)
    """A model configuration that shows this example in the documentation."""
    return ConfigDict(
        frozen=True,
        json_schema_serialization_defaults_required=True,
        json_schema_extra={"example": values},
    )
