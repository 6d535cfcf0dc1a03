"""Everything ``ml`` raises on purpose.

MlError
├── UnreadableImageError       one photo
├── TooFewImagesError          the photos together
├── WeightsUnavailableError    a file of pretrained weights
├── LossDivergedError          the numbers
├── CheckpointCorruptError     a file written before
│   └── CheckpointForeignError by another version
├── EnvironmentChangedError    the machine
└── StoppedError               the caller's wish
"""

from collections.abc import Sequence
from pathlib import Path

_SHORTAGES = ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED")
"""Words of those errors of torch that have no class of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device or the host could not give the memory that was asked for."""
    # torch's own class is known by its name, so that asking need not load torch
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORTAGES)


class MlError(Exception):
    """Base of every error below; never raised itself."""


class UnreadableImageError(MlError):
    """A file cannot be turned into pixels."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name} cannot be read: {reason}")
        self.path = path
        self.reason = reason


class TooFewImagesError(MlError):
    """There are fewer photos than the work needs at the least."""

    def __init__(self, *, found: int, needed: int, purpose: str) -> None:
        super().__init__(f"{purpose} needs at least {needed} photos, found {found}")
        self.found = found
        self.needed = needed


class WeightsUnavailableError(MlError):
    """Pretrained weights cannot be had, or do not fit the architecture."""


class LossDivergedError(MlError):
    """The training loss became infinite or not a number."""

    def __init__(self, step: int) -> None:
        super().__init__(
            f"the loss is not finite at step {step}; a lower learning rate usually helps"
        )
        self.step = step


class CheckpointCorruptError(MlError):
    """A checkpoint or model file is not what was once written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name} cannot be used: {reason}")
        self.path = path
        self.reason = reason


class CheckpointForeignError(CheckpointCorruptError):
    """The checkpoint is whole, in the format of another version: earlier ones are so, too."""


class TooLargeForOnnxError(MlError):
    """A model's weights do not fit into one ONNX file."""

    def __init__(self, size_bytes: int, most_bytes: int) -> None:
        super().__init__(f"the weights have {size_bytes} bytes; an ONNX file holds {most_bytes}")


class EnvironmentChangedError(MlError):
    """A run would go on where its numbers cannot be the same as before.

    ``changes`` has the name of each thing that decides them, as it was and as it is.
    """

    def __init__(self, changes: Sequence[tuple[str, object, object]]) -> None:
        told = [
            f"{name} was {was!r} when the run began and is {now!r} now"
            for name, was, now in changes
        ]
        super().__init__("; ".join(told))
        self.changes = tuple(changes)


class StoppedError(MlError):
    """The caller asked to stop before there was a result; ``command`` says how it asked."""

    def __init__(self, doing: str, command: str) -> None:
        super().__init__(f"stopped while {doing}, as asked ({command})")
        self.doing = doing
        self.command = command
