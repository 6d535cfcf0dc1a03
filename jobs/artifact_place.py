"""Where artifacts lie: a folder of this machine, and an object store where one is to outlive it."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, ValidationInfo, field_validator

DEFAULT_DATA_DIR = Path("~/.local/share/tunesmith").expanduser()

_STORE = re.compile(r"[a-z][a-z0-9]*://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/[A-Za-z0-9._=-]+)*/?")
_NO_STORES = frozenset({"file", "local", "memory", "http", "https"})


class ArtifactPlace(BaseModel):
    """The part of the settings that says where pixels, ledgers, models and the like are kept."""

    artifacts: Path = Field(
        default=DEFAULT_DATA_DIR / "artifacts",
        description="folder of pixels, thumbnails, checkpoints, ledgers and models; with an object "
        "store it is this machine's own, for what is being made and for copies",
    )
    artifact_store: str | None = Field(
        default=None,
        description="object store that keeps whatever must outlive a machine, as in "
        "`s3://BUCKET/PREFIX`; absent: the folder keeps it",
    )
    artifact_endpoint: str | None = Field(
        default=None,
        description="address of an S3 service that is not Amazon's, as in `http://minio:9000`",
    )
    artifact_redirects: bool = Field(
        default=True,
        description="whether downloads lead clients to signed addresses of the object store; "
        "`false` where clients cannot reach it: the API hands the bytes on",
    )

    artifact_patience_s: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="seconds for which a job asks an object store that does not answer, before it "
        "goes back to the queue",
    )

    @field_validator("artifacts", mode="after")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if re.match(r"[a-z0-9]+:/", str(path)):
            raise ValueError(
                "must be a folder; an object store is named by TUNESMITH_ARTIFACT_STORE"
            )
        return path.expanduser().absolute()

    @field_validator("artifact_store", mode="after")
    @classmethod
    def _a_bucket(cls, url: str | None) -> str | None:
        if not url:
            return None
        if not _STORE.fullmatch(url) or url.partition("://")[0] in _NO_STORES:
            raise ValueError(
                "must be a bucket, or a prefix in one, as in s3://bucket/prefix, with letters, "
                "digits and . _ = - in its names"
            )
        return url.rstrip("/")

    @field_validator("artifact_endpoint", mode="after")
    @classmethod
    def _an_endpoint(cls, url: str | None, info: ValidationInfo) -> str | None:
        if not url:
            return None
        store = info.data.get("artifact_store") or "s3://"
        if not store.startswith("s3://"):
            raise ValueError("is for S3; TUNESMITH_ARTIFACT_STORE is none")
        parts = urlsplit(url)
        is_plain = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
        if not is_plain or parts.query or parts.fragment:
            # what it is may hold a password, so it is not repeated
            raise ValueError(
                "must be http://HOST:PORT or https://HOST:PORT; credentials come by "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        return url
