"""How much of a foreign archive is taken in: bytes, members, and the space that stays free."""

from pydantic import BaseModel, Field

GIB = 1024**3


class SourceLimits(BaseModel):
    """The limits of archives that are sent, fetched and unpacked; a part of the settings."""

    max_upload_bytes: int = Field(
        default=10 * GIB,
        ge=1,
        description="bytes above which an archive is refused, sent or fetched",
    )
    max_unpacked_bytes: int = Field(
        default=50 * GIB, ge=1, description="bytes above which an archive is not unpacked further"
    )
    max_archive_members: int = Field(
        default=500_000, ge=1, description="members above which an archive is refused"
    )
    max_archive_ratio: float = Field(
        default=100.0,
        ge=1,
        description="times its own size above which an archive of 64 MiB unpacked is refused",
    )
    min_free_bytes: int = Field(
        default=GIB, ge=0, description="bytes that uploads and imports leave free on the disk"
    )
