"""Which failures are the machine's, to be tried again, and which are the job's own."""

import errno
from pathlib import Path

import pytest

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
