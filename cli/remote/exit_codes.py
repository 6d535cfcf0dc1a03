"""What a command ends with; docs/cli.md tells it to whoever writes scripts."""

from collections.abc import Mapping
from enum import IntEnum

from tunesmith_client import (
    BadRequestError,
    ConflictError,
    ForbiddenError,
    Job,
    JobCancelledError,
    JobFailedError,
    LimitExceededError,
    NotFoundError,
    ServiceError,
    TunesmithError,
    UnauthenticatedError,
    UnreachableError,
)


class ExitCode(IntEnum):
    """Why a command ended."""

    DONE = 0
    OTHER = 1
    BAD_REQUEST = 2
    """Typer's own code for a wrong command line, too: either way what was asked is wrong."""
    JOB_FAILED = 3
    JOB_CANCELLED = 4
    UNREACHABLE = 5
    NOT_FOUND = 6
    NOT_ALLOWED = 7
    NOT_NOW = 8
    INTERRUPTED = 130
    """128 and the number of SIGINT, as shells have it."""


_CODE_OF: Mapping[type[TunesmithError], ExitCode] = {
    BadRequestError: ExitCode.BAD_REQUEST,
    UnauthenticatedError: ExitCode.NOT_ALLOWED,
    ForbiddenError: ExitCode.NOT_ALLOWED,
    NotFoundError: ExitCode.NOT_FOUND,
    ConflictError: ExitCode.NOT_NOW,
    LimitExceededError: ExitCode.NOT_NOW,
    ServiceError: ExitCode.UNREACHABLE,
    UnreachableError: ExitCode.UNREACHABLE,
    JobCancelledError: ExitCode.JOB_CANCELLED,
    JobFailedError: ExitCode.JOB_FAILED,
}


def exit_code_of(problem: TunesmithError) -> ExitCode:
    """The code that a command ends with after this."""
    return next((code for kind, code in _CODE_OF.items() if isinstance(problem, kind)), ExitCode(1))


def exit_code_of_job(job: Job) -> ExitCode:
    """The code for the end of a job."""
    if job.has_succeeded:
        return ExitCode.DONE
    return ExitCode.JOB_CANCELLED if job.state == "cancelled" else ExitCode.JOB_FAILED
