"""Where workers may fetch datasets from, and for how long they try; a part of the settings."""

import re
from typing import Annotated

from pydantic import BaseModel, Field, field_validator
from pydantic_settings import NoDecode

from jobs.addresses import PrivateTargets

_SEPARATOR = re.compile(r"[,\s]+")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_REMOTE_ROOT = re.compile(r"(s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]+(/[^\s,?#*]*)?")


class FetchLimits(BaseModel):
    """The part of the settings that says what is fetched from elsewhere; times are seconds."""

    private_targets: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="hosts, addresses and networks (`10.0.0.0/8`) that URLs may lead to although "
        "they are not public, separated by commas",
    )
    remote_roots: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="buckets, or prefixes of them, that datasets may be read from "
        "(`s3://photos/pets`, `gs://…`, `az://…`), separated by commas",
    )
    fetch_connect_s: float = Field(
        default=10.0, gt=0, le=300, description="seconds within which a web server must be reached"
    )
    fetch_idle_s: float = Field(
        default=60.0, gt=0, le=3600, description="seconds within which a byte must arrive from it"
    )
    fetch_total_s: float = Field(
        default=21600.0,
        gt=0,
        le=2592000,
        description="seconds that one attempt at an import may fetch for",
    )

    @property
    def targets(self) -> PrivateTargets:
        """The hosts and networks that may be called although they are not public."""
        return PrivateTargets.of(self.private_targets)

    @field_validator("private_targets", "remote_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(each for each in _SEPARATOR.split(value) if each)
        return value

    @field_validator("private_targets", mode="after")
    @classmethod
    def _hosts(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if not _is_target(entry):
                raise ValueError(f"{entry!r} is no host, address or network; leave out any port")
        return entries

    @field_validator("remote_roots", mode="after")
    @classmethod
    def _places(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            if not _REMOTE_ROOT.fullmatch(entry):
                raise ValueError(f"{entry!r} is no place such as s3://bucket or s3://bucket/prefix")
        return tuple(entry.rstrip("/") for entry in entries)


def _is_target(entry: str) -> bool:
    targets = PrivateTargets.of([entry])
    return bool(targets.networks) or _HOST.fullmatch(entry) is not None
