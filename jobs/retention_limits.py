"""How long things stay that are worth nothing, or little, once their job has ended."""

from pathlib import Path

from pydantic import BaseModel, Field, field_validator


class RetentionLimits(BaseModel):
    """The part of the settings that says what is removed when; results are never removed."""

    pixels: Path | None = Field(
        default=None,
        description="folder of presized pixels, on a disk of each machine's own where the "
        "artifacts are shared over a network; absent: `pixels` below the artifacts",
    )

    orphan_grace_s: float = Field(
        default=86400.0,
        ge=60,
        le=2592000,
        description="seconds after which a file that nothing refers to any more is removed",
    )
    pixel_cache_bytes: int = Field(
        default=50 * 1024**3,
        ge=0,
        description="bytes of presized pixels above which those not used for longest are removed",
    )
    artifact_copies_bytes: int = Field(
        default=50 * 1024**3,
        ge=0,
        description="bytes of copies of the object store's files on one machine above which those "
        "not used for longest are removed",
    )
    progress_days: float = Field(
        default=7.0,
        ge=0,
        le=36_500,
        description="days after a job's end that its `job.progress` events are kept; its curves "
        "and all other events stay",
    )
    upload_keep_s: float = Field(
        default=7 * 86400.0,
        ge=60,
        le=3_153_600_000,
        description="seconds after its last use after which an upload is removed",
    )
    side_jobs_days: float = Field(
        default=7.0,
        ge=0.01,
        le=36_500,
        description="days after their end that jobs of the types `probe` and `export` are kept; "
        "the plots stay",
    )
    webhook_days: float = Field(
        default=30.0,
        ge=0.01,
        le=36_500,
        description="days that deliveries to webhooks are kept once they have arrived or failed",
    )

    @field_validator("pixels", mode="after")
    @classmethod
    def _absolute_pixels(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()
