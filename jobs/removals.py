"""One thing that can go: what it is, how large, and why."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a removal is about; the value is what people read."""

    ORPHAN = "orphan"
    CHECKPOINT = "checkpoint"
    EPOCH_LOSSES = "epoch_losses"
    HALF_WRITTEN = "half_written"
    PIXELS = "pixels"
    PROGRESS = "progress"
    SIDE_JOB = "side_job"
    ANSWERS = "answers"
    WORKER = "worker"
    DELIVERIES = "deliveries"
    UPLOAD = "upload"
    OBJECT = "object"
    COPY = "copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A file, a folder or some rows that can go.

    Attributes:
        kind: which it is.
        name: the path below the artifacts (that of pixels begins with ``pixels`` wherever they
            lie), or the id of what the rows belong to.
        size_bytes: what it takes; of rows the length of their texts.
        why: the reason, for people.
    """

    kind: Kind
    name: str
    size_bytes: int
    why: str
