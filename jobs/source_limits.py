"""How much of a foreign source is taken in: bytes, files, classes, time, and the space left."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

GIB = 1024**3


class SourceLimits(BaseModel):
    """The limits of archives and of what imports take in; a part of the settings."""

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
    max_files: int = Field(
        default=500_000, ge=1, description="photos above which a source is refused"
    )
    max_classes: int = Field(
        default=10_000, ge=1, description="different labels above which a dataset is refused"
    )
    max_photo_bytes: int = Field(
        default=GIB // 4, ge=1, description="bytes above which a photo is left out, unread"
    )
    decode_s: int = Field(
        default=60,
        ge=1,
        le=86400,
        description="seconds of computing above which a photo is left out as it is decoded",
    )
    min_free_bytes: int = Field(
        default=GIB, ge=0, description="bytes that uploads and imports leave free on the disk"
    )


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that a dataset exceeds: the code, what was found, what to do."""

    code: Literal["too_many_files", "too_many_classes"]
    message: str
    remedy: str


def excess(limits: SourceLimits, *, files: int, classes: int) -> Excess | None:
    """Which limit so many photos and different labels exceed, if any."""
    if files > limits.max_files:
        return Excess(
            "too_many_files",
            f"the source has more than {limits.max_files} photos",
            "register parts of it, or start the service with a higher TUNESMITH_MAX_FILES",
        )
    if classes > limits.max_classes:
        return Excess(
            "too_many_classes",
            f"the labels name {classes} classes; at most {limits.max_classes} are taken",
            "see whether the rule reads labels and not names of files; if it does, start the "
            "service with a higher TUNESMITH_MAX_CLASSES",
        )
    return None
