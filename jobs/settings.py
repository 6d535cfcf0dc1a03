"""Settings, read from the environment once, by the entry points only.

Every variable begins with ``TUNESMITH_``; a wrong value stops the process at start and names
the variable.
"""

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from jobs import client_key
from jobs.artifact_place import DEFAULT_DATA_DIR as DEFAULT_DATA_DIR
from jobs.artifact_place import ArtifactPlace
from jobs.back_off import BackOff
from jobs.device_settings import DeviceSettings
from jobs.fetch_limits import FetchLimits
from jobs.observation import Observation
from jobs.quota_limits import QuotaLimits
from jobs.retention_limits import RetentionLimits
from jobs.settings_error import SettingsError as SettingsError
from jobs.source_limits import SourceLimits
from jobs.webhook_limits import WebhookLimits

_POSTGRESQL = "postgresql+psycopg"
_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
# an IPv6 address has colons of its own and is written in brackets, as in a URL
_HOST_IN_LIST = re.compile(r"\[([^\]]*)\]|([^:,\s]+)")
_ORIGIN = re.compile(r"https?://[a-z0-9.\-\[\]:]+")


class Settings(
    ArtifactPlace,
    SourceLimits,
    FetchLimits,
    QuotaLimits,
    RetentionLimits,
    WebhookLimits,
    Observation,
    DeviceSettings,
    BackOff,
    BaseSettings,
):
    """What the processes of one installation share."""

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", frozen=True)

    database_url: str = Field(
        default=f"sqlite:///{DEFAULT_DATA_DIR}/tunesmith.db",
        description="address of the database: `sqlite:///FILE` on a local disk, or "
        "`postgresql://USER:PASSWORD@HOST/NAME`",
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        pattern=r"^(redis|rediss|redis\+socket)://",
        description="Redis for the queue's doorbell; `redis+socket:///path` for a unix socket",
    )
    dataset_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="folders that datasets and weights may be read from, separated by colons",
    )
    host: str = Field(default="127.0.0.1", description="address the API binds")
    port: int = Field(default=8000, ge=0, le=65535, description="port of the API; 0 picks one")
    auth: Literal["auto", "keys", "off"] = Field(
        default="auto",
        description="whether requests need an API key; auto: on every bind but a loopback one",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="names beside loopback ones and the bind address that the API answers to, "
        "separated by colons or commas",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="origins, such as `https://app.example.com`, whose pages may use the API from "
        "a browser, separated by commas",
    )
    admin_key_file: Path | None = Field(
        default=None,
        description="file whose one line becomes the first admin key (`tunesmith migrate`)",
    )
    lease_s: float = Field(
        default=30.0, gt=0.5, le=3600, description="seconds a silent worker keeps its job"
    )
    renew_s: float = Field(default=10.0, gt=0.1, le=1200, description="seconds between renewals")
    sweep_s: float = Field(
        default=5.0, gt=0.1, le=600, description="seconds between looks for due leases"
    )
    look_s: float = Field(
        default=5.0, gt=0.1, le=600, description="seconds between a worker's own looks for work"
    )
    checkpoint_s: float = Field(
        default=30.0, gt=0, le=86400, description="seconds between the engine's own checkpoints"
    )
    cancel_grace_s: float = Field(
        default=30.0, gt=0, le=600, description="seconds a trainer has to end before it is killed"
    )
    stall_s: float = Field(
        default=3600.0,
        gt=0.5,
        le=2592000,
        description="seconds without a step, a batch or a photo after which a trainer is stuck; "
        "it is killed, as often as one that dies",
    )
    max_pixels: int = Field(
        default=100_000_000,
        ge=1_000_000,
        le=200_000_000,
        description="pixels above which a photo is refused before it is decoded",
    )
    pixel_raw_bytes: int = Field(
        default=4 * 1024**3,
        ge=0,
        description="bytes of raw pixels above which the photos of one part are kept as JPEG",
    )
    model_cache_mb: int = Field(
        default=1024,
        ge=1,
        le=1_000_000,
        description="mebibytes of models that a predict worker keeps loaded; the one in use counts",
    )
    predict_idle_s: float = Field(
        default=900.0,
        gt=0,
        le=2592000,
        description="seconds without a prediction after which a predict worker gives its memory "
        "back; the next prediction waits until torch and its model are loaded again",
    )
    max_lost: int = Field(
        default=50, ge=1, le=1000, description="times a job may lose its worker before it fails"
    )

    @property
    def needs_keys(self) -> bool:
        """Whether requests must carry an API key."""
        return self.auth == "keys" or (self.auth == "auto" and not _is_loopback(self.host))

    @property
    def host_names(self) -> frozenset[str]:
        """The names, beside loopback ones, that a request's Host header may have."""
        wildcard = self.host != "localhost" and ipaddress.ip_address(self.host).is_unspecified
        return frozenset(self.allowed_hosts if wildcard else (self.host, *self.allowed_hosts))

    @field_validator("database_url", mode="after")
    @classmethod
    def _known_database(cls, url: str) -> str:
        scheme, _, rest = url.partition("://")
        if scheme in {"postgres", "postgresql"}:
            url = f"{_POSTGRESQL}://{rest}"
        try:
            known = make_url(url).drivername in {"sqlite", _POSTGRESQL}
        except (ArgumentError, ValueError):
            # their messages may show a part of the password
            known = False
        if known:
            return url
        raise ValueError(
            "must be sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/NAME, "
            "with the password's special characters percent-encoded"
        ) from None

    @field_validator("renew_s", mode="after")
    @classmethod
    def _renewed_in_time(cls, renew_s: float, info: ValidationInfo) -> float:
        lease_s = info.data.get("lease_s", renew_s + 1)
        if renew_s < lease_s:
            return renew_s
        raise ValueError(f"must be below TUNESMITH_LEASE_S, which is {lease_s:g}")

    @field_validator("dataset_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(":") if part)
        return value

    @field_validator("dataset_roots", mode="after")
    @classmethod
    def _resolve_roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        try:
            return tuple(root.expanduser().resolve() for root in roots)
        except RuntimeError as problem:
            raise ValueError(str(problem)) from problem

    @field_validator("host", mode="after")
    @classmethod
    def _an_address(cls, host: str) -> str:
        _is_loopback(host)
        return host

    @field_validator("auth", mode="after")
    @classmethod
    def _off_on_loopback_only(cls, auth: str, info: ValidationInfo) -> str:
        host = info.data.get("host", "localhost")
        if auth != "off" or _is_loopback(host):
            return auth
        raise ValueError(
            f"TUNESMITH_HOST is {host!r}, which is not a loopback address; there the API asks "
            "for keys: say keys or auto, or bind 127.0.0.1, ::1 or localhost"
        )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple("".join(found) for found in _HOST_IN_LIST.findall(value))
        return value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("cors_origins", mode="after")
    @classmethod
    def _plain_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin; write scheme and host, and no path")
        return origins

    @field_validator("allowed_hosts", mode="after")
    @classmethod
    def _host_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        lower = tuple(name.lower() for name in names)
        for name in lower:
            if ":" in name:
                ipaddress.IPv6Address(name)
            elif not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no host name; list each name in full")
        return lower


def _is_loopback(host: str) -> bool:
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def load_settings(**overrides: object) -> Settings:
    """The settings of this process; ``overrides`` win over the environment.

    Raises:
        SettingsError: a variable has a wrong value; the message names it.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # checked by pydantic itself
    except ValidationError as problem:
        lines = [
            f"TUNESMITH_{error['loc'][0]!s}".upper() + f": {error['msg']}{_input_of(error)}"
            for error in problem.errors()
        ]
        raise SettingsError("; ".join(lines)) from problem


def _input_of(error: ErrorDetails) -> str:
    # an address may hold a password
    is_address = str(error["loc"][0]).endswith(("_url", "_endpoint", "_store"))
    return "" if is_address else f" (got {error['input']!r})"


def child_environment(settings: Settings, **further: str) -> dict[str, str]:
    """The environment of a process that shall have these settings, whatever ours are."""
    values = settings.model_dump(mode="json", exclude_none=True)
    values["dataset_roots"] = ":".join(values["dataset_roots"])
    for name in ("cors_origins", "private_targets", "remote_roots"):
        values[name] = ",".join(values[name])
    values["allowed_hosts"] = ",".join(
        f"[{name}]" if ":" in name else name for name in values["allowed_hosts"]
    )
    ours = {f"TUNESMITH_{name.upper()}": str(value) for name, value in values.items()}
    unset = {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields} - ours.keys()
    # the key is that of this command, and no child speaks to the API
    unset.add(client_key.VARIABLE)
    kept = {name: text for name, text in os.environ.items() if name not in unset}
    return {**kept, **ours, **further}


def traces_endpoint() -> str | None:
    """Where a collector takes traces, ``OTEL_EXPORTER_OTLP_ENDPOINT``; None: nowhere."""
    return os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None
