"""Settings, read from the environment once, by the entry points only.

Every variable begins with ``TUNESMITH_``; a wrong value stops the process at start and names
the variable.
"""

import ipaddress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_DATA_DIR = Path("~/.local/share/tunesmith").expanduser()


class SettingsError(Exception):
    """An environment variable has a value that cannot be used."""


class Settings(BaseSettings):
    """What the processes of one installation share."""

    model_config = SettingsConfigDict(env_prefix="TUNESMITH_", frozen=True)

    database_url: str = Field(
        default=f"sqlite:///{DEFAULT_DATA_DIR}/tunesmith.db",
        description="SQLAlchemy address of the database; SQLite on a local disk",
    )
    redis_url: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="Redis for the queue's doorbell; `redis+socket:///path` for a unix socket",
    )
    artifacts: Path = Field(
        default=DEFAULT_DATA_DIR / "artifacts",
        description="folder of pixels, thumbnails, checkpoints, ledgers and models",
    )
    dataset_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="folders that datasets and weights may be read from, separated by colons",
    )
    host: str = Field(default="127.0.0.1", description="address the API binds; loopback only")
    port: int = Field(default=8000, ge=0, le=65535, description="port of the API; 0 picks one")
    device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="device of a train worker: auto, cpu, cuda or cuda:N",
    )
    threads: int = Field(
        default=0, ge=0, le=1024, description="compute threads of a trainer; 0 is one per core"
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
    max_pixels: int = Field(
        default=100_000_000,
        ge=1_000_000,
        le=2_000_000_000,
        description="pixels above which a photo is refused before it is decoded",
    )
    max_lost: int = Field(
        default=50, ge=1, le=1000, description="times a job may lose its worker before it fails"
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="how log lines are written"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe line that is logged"
    )

    @field_validator("dataset_roots", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(Path(part) for part in value.split(":") if part)
        return value

    @field_validator("dataset_roots", mode="after")
    @classmethod
    def _resolve_roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(root.expanduser().resolve() for root in roots)

    @field_validator("artifacts", mode="after")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("host", mode="after")
    @classmethod
    def _loopback_only(cls, host: str) -> str:
        if host == "localhost" or ipaddress.ip_address(host).is_loopback:
            return host
        raise ValueError(
            f"{host!r} is not a loopback address; without API keys the service binds "
            "127.0.0.1, ::1 or localhost only"
        )


def load_settings(**overrides: object) -> Settings:
    """The settings of this process; ``overrides`` win over the environment.

    Raises:
        SettingsError: a variable has a wrong value; the message names it.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # checked by pydantic itself
    except ValidationError as problem:
        lines = [
            f"TUNESMITH_{'_'.join(map(str, error['loc'])).upper()}: {error['msg']}"
            f" (got {error['input']!r})"
            for error in problem.errors()
        ]
        raise SettingsError("; ".join(lines)) from problem
