"""Uploaded archives as clients see them."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import ListOf, Resource, Time, UploadIdExample, example, time_of
from jobs.uploads import Upload


class UploadResource(Resource):
    """One archive, sent or fetched by an import, for `{"type": "upload", "upload_id": …}`."""

    model_config = example(
        id=UploadIdExample,
        object="upload",
        filename="pets.zip",
        format="zip",
        size_bytes=811706944,
        digest="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        created_at="2026-03-01T12:00:00.000Z",
        last_used_at="2026-03-01T12:00:00.000Z",
        expires_at="2026-03-08T12:00:00.000Z",
        links={"self": f"/v1/uploads/{UploadIdExample}"},
    )

    id: str
    object: Literal["upload"] = "upload"
    filename: str | None = Field(
        description="the client's own name for it, or the end of its address; null of a raw body"
    )
    format: str = Field(description="zip, tar, tar.gz or tar.zst, by its first bytes; may grow")
    size_bytes: int
    digest: str = Field(description="of its bytes")
    created_at: Time
    last_used_at: Time = Field(description="when it came, or was last named by a new dataset")
    expires_at: Time = Field(description="it is removed some time after, unless it is used again")
    links: dict[str, str]

    @classmethod
    def of(cls, upload: Upload, *, keep_s: float) -> "UploadResource":
        """The upload as a client sees it, where unused ones are kept for so many seconds."""
        return cls(
            id=upload.id,
            filename=upload.filename,
            format=upload.format,
            size_bytes=upload.size_bytes,
            digest=f"sha256:{upload.digest}",
            created_at=time_of(upload.created_ms),
            last_used_at=time_of(upload.used_ms),
            expires_at=time_of(upload.used_ms + int(keep_s * 1000)),
            links={"self": f"/v1/uploads/{upload.id}"},
        )


class UploadList(ListOf[UploadResource]):
    """One page of uploads."""
