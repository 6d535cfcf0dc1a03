"""From an exception to the failure that a client reads: code, message, hint."""

import errno

import ml.errors
from jobs.errors import (
    ArchiveInvalidError,
    ArchiveTooLargeError,
    DigestMismatchError,
    DiskFullError,
    LabelFileInvalidError,
    SourceForbiddenError,
    SourceInterruptedError,
    SourceTimeoutError,
    SourceUnreachableError,
)
from jobs.job import Failure
from ml.theory.architectures import UnknownArchitectureError
from ml.theory.errors import InvalidRegexError, LabelsMismatchError


class JobFailedError(Exception):
    """The job cannot go on, and the client can be told exactly why."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.failure = Failure(code=code, message=message, hint=hint)


_CODES: dict[type[Exception], tuple[str, str]] = {
    SourceForbiddenError: (
        "source_forbidden",
        "use a folder inside one of the allowed roots, or start the service with a further root; "
        "of the web a public address, or one that TUNESMITH_PRIVATE_TARGETS allows",
    ),
    SourceTimeoutError: (
        "timeout",
        "try again when the source is quicker, or start the service with longer limits "
        "(TUNESMITH_FETCH_…)",
    ),
    SourceUnreachableError: (
        "source_unreachable",
        "check the path on the server, or the address and whoever serves it",
    ),
    DigestMismatchError: ("digest_mismatch", "send the SHA-256 of what the address has now"),
    ArchiveInvalidError: ("archive_invalid", "make the archive anew, and send that"),
    ArchiveTooLargeError: (
        "archive_too_large",
        "send smaller archives, or start the service with higher limits (TUNESMITH_MAX_…)",
    ),
    LabelFileInvalidError: (
        "label_file_invalid",
        "mend the file where the message says, and register the dataset again",
    ),
    ml.errors.WeightsUnavailableError: (
        "weights_unavailable",
        "name a file with weights of this architecture, put the missing file where the message "
        'says, or send "weights": "none"',
    ),
    ml.errors.UnreadableImageError: (
        "unreadable_images",
        "the file has changed since the import; register the dataset again",
    ),
    ml.errors.LossDivergedError: ("loss_diverged", "use a lower learning_rate"),
    ml.errors.TooFewImagesError: ("too_few_images", "add photos or lower batch_size"),
    ml.errors.CheckpointCorruptError: ("checkpoint_corrupt", "submit the job again"),
    ml.errors.TooLargeForOnnxError: ("too_large_for_onnx", "use the safetensors file"),
    ml.errors.EnvironmentChangedError: (
        "environment_changed",
        "submit the job again to train it from the start on this machine; with "
        '"on_environment_change": "continue" it goes on wherever it is taken up',
    ),
    LabelsMismatchError: (
        "labels_mismatch",
        "give each label a class of the model, or null, in label_mapping",
    ),
    InvalidRegexError: ("invalid_regex", "write the pattern without that construct"),
    UnknownArchitectureError: ("unknown_architecture", "see GET /v1/architectures"),
}

_OF_SOURCES = (SourceForbiddenError, SourceUnreachableError, DigestMismatchError)
_OUT_OF_MEMORY_HINT = "lower batch_size or size"


_MACHINE = frozenset(
    {
        errno.EIO,
        errno.ENXIO,
        errno.ENODEV,
        errno.EBUSY,
        errno.EAGAIN,
        errno.ENFILE,
        errno.EMFILE,
        errno.EROFS,
        errno.ESTALE,
        errno.EREMOTEIO,
        errno.ETIMEDOUT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOTCONN,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
    }
)
"""Errors of disks, mounts and networks, which may be over soon; wrong paths and rights are not."""


def is_of_the_machine(problem: BaseException) -> bool:
    """Whether a disk or a network caused this, so that the same work may succeed a little later."""
    return _machine_error(problem) is not None


def _machine_error(problem: BaseException) -> OSError | None:
    """The error that it all came from, if that is one of the machine, not of a client's source."""
    cause: BaseException | None = problem
    if isinstance(problem, _OF_SOURCES):
        return None
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _MACHINE:
            return cause
        cause = cause.__cause__
    return None


def failure_of(problem: Exception) -> Failure:
    """What the client is told about this exception; unknown ones are ``internal``."""
    if (error := _machine_error(problem)) is not None:
        return _io_error(error, "look at the disk or the network behind that file")
    if isinstance(problem, PermissionError):
        is_ours = "://" not in str(problem.filename)
        user, key = "the user whom the worker runs as", "the worker's credentials"
        return _io_error(problem, f"let {user if is_ours else key} read and write there")
    if isinstance(problem, JobFailedError):
        return problem.failure
    for kind, (code, hint) in _CODES.items():
        if isinstance(problem, kind):
            is_passing = isinstance(problem, SourceInterruptedError | SourceTimeoutError)
            return Failure(code=code, message=str(problem), hint=hint, retryable=is_passing)
    if isinstance(problem, DiskFullError) or _ran_out_of_space(problem):
        file = getattr(problem, "filename", None) or "the artifact store"
        too_little = isinstance(problem, DiskFullError)
        return Failure(
            code="disk_full",
            message=str(problem) if too_little else f"no space is left for {file}",
            hint="free space on the volume of the artifacts, then submit the job again",
            retryable=True,
        )
    if ml.errors.is_out_of_memory(problem):
        return Failure(code="out_of_memory", message=str(problem), hint=_OUT_OF_MEMORY_HINT)
    return Failure(
        code="internal",
        message=f"{type(problem).__name__}: {problem}"[:500],
        hint="GET /v1/jobs/{id}/logs has the details",
    )


def _io_error(error: OSError, remedy: str) -> Failure:
    return Failure(
        code="io_error",
        message=f"{error.filename or 'the artifact store'}: {error.strerror or error}",
        hint=f"{remedy}, then submit the job again",
        retryable=True,
    )


def _ran_out_of_space(problem: Exception) -> bool:
    return isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}
