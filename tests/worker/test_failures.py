"""Which failures are the machine's, to be tried again, and which are the job's own."""

import errno
from pathlib import Path

import pytest

from jobs.errors import (
    DigestMismatchError,
    SourceForbiddenError,
    SourceInterruptedError,
    SourceTimeoutError,
    SourceUnreachableError,
)
from ml.errors import LossDivergedError, UnreadableImageError, WeightsUnavailableError
from worker.failures import failure_of, is_of_the_machine


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EROFS, errno.ETIMEDOUT])
def test_an_error_of_a_disk_or_a_network_is_the_machines(number: int) -> None:
    problem = OSError(number, "what the system says", "artifacts/pixels.bin")

    assert is_of_the_machine(problem)
    failure = failure_of(problem)
    assert (failure.code, failure.retryable) == ("io_error", True)
    assert failure.message == "artifacts/pixels.bin: what the system says"


def test_what_an_error_of_the_machine_has_caused_is_the_machines_too() -> None:
    problem = WeightsUnavailableError("the weights cannot be read")
    problem.__cause__ = OSError(errno.EIO, "Input/output error", "weights.pth")

    assert is_of_the_machine(problem)
    assert failure_of(problem).message == "weights.pth: Input/output error"


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (PermissionError(errno.EACCES, "Permission denied"), "io_error"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "internal"),
        (LossDivergedError(3), "loss_diverged"),
        (UnreadableImageError(Path("red_1.jpg"), "it is empty"), "unreadable_images"),
        (MemoryError(), "out_of_memory"),
    ],
)
def test_what_would_only_happen_again_is_not_the_machines(problem: Exception, code: str) -> None:
    assert not is_of_the_machine(problem)
    assert failure_of(problem).code == code


@pytest.mark.parametrize(
    ("problem", "code", "is_passing"),
    [
        (SourceForbiddenError("10.0.0.1 is not public"), "source_forbidden", False),
        (SourceUnreachableError("it answers 404"), "source_unreachable", False),
        (SourceInterruptedError("it answers 503"), "source_unreachable", True),
        (SourceTimeoutError("it sent nothing"), "timeout", True),
        (DigestMismatchError("it has another"), "digest_mismatch", False),
    ],
)
def test_a_clients_source_that_fails_is_not_the_machine(
    problem: Exception, code: str, is_passing: bool
) -> None:
    """Whoever fetched it has tried again already, and the client can look at it."""
    problem.__cause__ = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    failure = failure_of(problem)

    assert not is_of_the_machine(problem)
    assert (failure.code, failure.retryable) == (code, is_passing)
    assert failure.hint
