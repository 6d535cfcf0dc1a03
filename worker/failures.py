"""From an exception to the failure that a client reads: code, message, hint."""

import errno

import ml.errors
from jobs.errors import SourceForbiddenError, SourceUnreachableError
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
        "use a folder inside one of the allowed roots, or start the service with a further root",
    ),
    SourceUnreachableError: ("source_unreachable", "check the path on the server"),
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
    ml.errors.EnvironmentChangedError: (
        "environment_changed",
        "submit the job again to train it from the start on this machine",
    ),
    LabelsMismatchError: (
        "labels_mismatch",
        "give each label a class of the model, or null, in label_mapping",
    ),
    InvalidRegexError: ("invalid_regex", "write the pattern without that construct"),
    UnknownArchitectureError: ("unknown_architecture", "see GET /v1/architectures"),
}

_OUT_OF_MEMORY_HINT = "lower batch_size or size"


def failure_of(problem: Exception) -> Failure:
    """What the client is told about this exception; unknown ones are ``internal``."""
    if isinstance(problem, JobFailedError):
        return problem.failure
    for kind, (code, hint) in _CODES.items():
        if isinstance(problem, kind):
            return Failure(code=code, message=str(problem), hint=hint)
    if isinstance(problem, OSError) and problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Failure(
            code="disk_full",
            message=f"no space is left for {problem.filename or 'the artifact store'}",
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
