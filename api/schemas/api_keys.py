"""API keys as clients see them."""

from datetime import UTC
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from api.schemas.resource import (
    DATED,
    ListOf,
    Resource,
    Time,
    example,
    optional_time_of,
    time_of,
)
from jobs.dataset_spec import Spec
from jobs.keys import OWNER_PATTERN, ApiKey, NewKey, Scope
from jobs.store import LOCAL_OWNER

KeyIdExample = "key_01jd2s4ah2f3kv8m6q0x5w9c7e"
_EXAMPLE = {
    "id": KeyIdExample,
    "object": "api_key",
    "name": "notebook of ana",
    "owner": "ana",
    "scopes": ["jobs:write"],
    "prefix": "tsk_Zm9vYmFy",
    "created_at": "2026-03-01T12:00:00.000Z",
    "last_used_at": None,
    "expires_at": "2027-03-01T12:00:00.000Z",
    "revoked_at": None,
    "links": {"self": f"/v1/api-keys/{KeyIdExample}"},
}


class ApiKeyCreate(Spec):
    """What a new key is to allow."""

    name: str = Field(min_length=1, max_length=200, description="who or what will use it")
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        min_length=1,
        max_length=4,
        description="what it allows; those that write allow to read, admin allows everything",
    )
    owner: str = Field(
        default=LOCAL_OWNER,
        pattern=OWNER_PATTERN,
        description="whose things it makes and sees; a key with the scope admin sees all",
    )
    expires_at: Annotated[AwareDatetime, Field(strict=False), DATED] | None = Field(
        default=None, description="when it stops working; RFC 3339; null is never"
    )

    @property
    def expires_ms(self) -> int | None:
        """Milliseconds since 1970."""
        if self.expires_at is None:
            return None
        return round(self.expires_at.astimezone(UTC).timestamp() * 1000)


class ApiKeyResource(Resource):
    """One key, without its secret."""

    model_config = example(**_EXAMPLE)

    id: str
    object: Literal["api_key"] = "api_key"
    name: str
    owner: str
    scopes: list[Scope]
    prefix: str = Field(description="how the secret begins")
    created_at: Time
    last_used_at: Time | None = Field(description="to the minute")
    expires_at: Time | None
    revoked_at: Time | None
    links: dict[str, str]

    @classmethod
    def of(cls, key: ApiKey) -> "ApiKeyResource":
        """The key as a client sees it."""
        return cls(
            id=key.id,
            name=key.name,
            owner=key.owner,
            scopes=sorted(key.scopes),
            prefix=key.prefix,
            created_at=time_of(key.created_ms),
            last_used_at=optional_time_of(key.last_used_ms),
            expires_at=optional_time_of(key.expires_ms),
            revoked_at=optional_time_of(key.revoked_ms),
            links={"self": f"/v1/api-keys/{key.id}"},
        )


class NewApiKeyResource(ApiKeyResource):
    """A key just made, with its secret."""

    model_config = example(**_EXAMPLE | {"secret": f"{_EXAMPLE['prefix']}…"})

    secret: str | None = Field(description="shown this once; null in an answer that is replayed")

    @classmethod
    def made(cls, new: NewKey, *, with_secret: bool) -> "NewApiKeyResource":
        """The key as the client that made it sees it."""
        shown = ApiKeyResource.of(new.key).model_dump()
        return cls.model_validate({**shown, "secret": new.secret if with_secret else None})


class ApiKeyList(ListOf[ApiKeyResource]):
    """One page of keys."""
