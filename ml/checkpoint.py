"""Training states as files: a magic word, the SHA-256 of the rest, the rest as torch writes it."""

import dataclasses
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch

from ml.errors import CheckpointCorruptError, CheckpointForeignError
from ml.files import write_whole
from ml.training_state import TrainingState

FORMAT = 2
"""The layout of the file; it goes up when the fields of `TrainingState` change."""

_NAME = b"tunesmith checkpoint "
MAGIC = _NAME + b"%d\n" % FORMAT
DIGEST_BYTES = 32


def save(path: Path, state: TrainingState) -> str:
    """The file holds the state, whole and on the disk; returns the SHA-256 of its payload."""
    buffer = io.BytesIO()
    torch.save({field.name: getattr(state, field.name) for field in _fields()}, buffer)
    payload = buffer.getvalue()
    digest = hashlib.sha256(payload)
    write_whole(path, MAGIC + digest.digest() + payload)
    return digest.hexdigest()


def load(path: Path) -> TrainingState:
    """The state that was saved; only plain values and tensors are ever read.

    Raises:
        CheckpointCorruptError: There is no such file, or it is not what ``save`` wrote.
        CheckpointForeignError: Another version wrote it, in its own format.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointCorruptError(path, error.strerror or str(error)) from error
    start = len(MAGIC) + DIGEST_BYTES
    if not content.startswith(MAGIC):
        raise _foreign(path, content)
    if hashlib.sha256(content[start:]).digest() != content[len(MAGIC) : start]:
        raise CheckpointCorruptError(path, "its bytes do not have the SHA-256 that was recorded")
    return TrainingState(**_read(path, content[start:]))


def _foreign(path: Path, content: bytes) -> CheckpointCorruptError:
    written = content[len(_NAME) :].partition(b"\n")[0] if content.startswith(_NAME) else b""
    if not written.isdigit():
        return CheckpointCorruptError(path, "it is no checkpoint of this service")
    whose = "a newer" if int(written) > FORMAT else "an older"
    return CheckpointForeignError(
        path,
        f"{whose} version wrote it, in the format {int(written)}; this one reads {FORMAT}: "
        "end the training with the version that began it, or begin it anew",
    )


def _read(path: Path, payload: bytes) -> dict[str, Any]:
    try:
        values: dict[str, Any] = torch.load(
            io.BytesIO(payload), map_location="cpu", weights_only=True
        )
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointCorruptError(path, reason) from error
    if set(values) != {field.name for field in _fields()}:
        raise CheckpointCorruptError(path, "it holds other fields than a training state")
    return values


def _fields() -> tuple["dataclasses.Field[Any]", ...]:
    return dataclasses.fields(TrainingState)
