"""What can go wrong for a client, as exceptions that carry what the service said.

TunesmithError
├── ProblemError                  the service refused the request, and said why
│   ├── BadRequestError           the request is wrong; `errors` names what and where
│   ├── UnauthenticatedError      no API key, or one that is worth nothing
│   ├── ForbiddenError            the key lacks a scope
│   ├── NotFoundError             there is no such thing, or it is somebody else's
│   ├── ConflictError             not in this state, not yet, or not in this version
│   ├── LimitExceededError        too many requests, or more than an owner may have
│   └── ServiceError              the service cannot answer now
├── UnreachableError              no answer came
├── UnexpectedAnswerError         the answer is none of Tunesmith's
├── BrokenFileError               what was downloaded has another digest than it should
├── JobFailedError                a job that was waited for has failed
│   └── JobCancelledError         … or was cancelled
└── StillRunningError             it was waited for long enough
"""

from collections.abc import Mapping
from typing import Any

from tunesmith_client.resources import FieldProblem, Job


class TunesmithError(Exception):
    """Base of everything that this package raises on purpose."""


class ProblemError(TunesmithError):
    """The service refused a request with a problem (RFC 9457).

    Attributes:
        kind: the problem's code, such as ``validation_failed``; docs/errors.md has them all.
        status: HTTP status.
        title: the kind in words.
        detail: what is wrong this time.
        errors: one entry for each field that is wrong, with its JSON pointer.
        did_you_mean: the closest valid names, of all fields together.
        request_id: what the service's log knows the request by.
        retry_after_s: seconds to wait before asking again; None where the service named none.
        problem: the whole body.
    """

    def __init__(
        self, problem: Mapping[str, Any], *, status: int, retry_after_s: float | None = None
    ) -> None:
        self.problem = dict(problem)
        self.status = status
        self.kind = str(problem.get("code", status))
        self.title = str(problem.get("title", "Refused"))
        self.detail = str(problem.get("detail", ""))
        self.errors = tuple(
            FieldProblem.model_validate(each) for each in problem.get("errors") or ()
        )
        self.did_you_mean = tuple(
            name for error in self.errors for name in error.did_you_mean or ()
        )
        self.request_id: str | None = problem.get("request_id")
        self.retry_after_s = retry_after_s
        super().__init__(self._told())

    def _told(self) -> str:
        head = f"{self.title} ({self.kind})"
        if not self.errors:
            return f"{head}: {self.detail}"
        fields = [f"{each.pointer or '/'}: {each.detail}{_closest(each)}" for each in self.errors]
        if len(fields) == 1 and self.detail.endswith(self.errors[0].detail):
            return f"{head} at {fields[0]}"
        return "\n  ".join([f"{head}: {self.detail}", *fields])


class BadRequestError(ProblemError):
    """The request is wrong; the same one will never be accepted."""


class UnauthenticatedError(ProblemError):
    """The service asks for an API key, and got none that is usable."""


class ForbiddenError(ProblemError):
    """The key lacks the scope that the detail names."""


class NotFoundError(ProblemError):
    """There is no such thing, or it belongs to another owner."""


class ConflictError(ProblemError):
    """It cannot be done in this state, not yet, or not to this version."""


class LimitExceededError(ProblemError):
    """Too many requests in a minute, or more than one owner may have."""


class ServiceError(ProblemError):
    """The service cannot answer at the moment."""


class UnreachableError(TunesmithError):
    """No answer came from the service, however often it was asked."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} cannot be reached: {reason}")
        self.url = url


class UnexpectedAnswerError(TunesmithError):
    """What answered is not Tunesmith, or not of this version."""


class BrokenFileError(TunesmithError):
    """The bytes that were downloaded are not those that the service has."""


class JobFailedError(TunesmithError):
    """A job ended without success; ``job.error`` says why."""

    def __init__(self, job: Job) -> None:
        why = "" if job.error is None else f": {job.error}"
        super().__init__(f"{job.type} {job.id} {job.state}{why}")
        self.job = job


class JobCancelledError(JobFailedError):
    """A job was cancelled before it ended."""


class StillRunningError(TunesmithError):
    """A job had not ended when the time to wait for it was over."""

    def __init__(self, job: Job, timeout_s: float) -> None:
        super().__init__(f"{job.type} {job.id} is {job.state} after {timeout_s:g} s")
        self.job = job


_OF_STATUS: Mapping[int, type[ProblemError]] = {
    401: UnauthenticatedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    412: ConflictError,
    429: LimitExceededError,
}
_FIRST_SERVER_STATUS = 500


def problem_error(
    problem: Mapping[str, Any], *, status: int, retry_after_s: float | None = None
) -> ProblemError:
    """The exception for a problem of this status."""
    usual = ServiceError if status >= _FIRST_SERVER_STATUS else BadRequestError
    kind = _OF_STATUS.get(status, usual)
    return kind(problem, status=status, retry_after_s=retry_after_s)


def _closest(error: FieldProblem) -> str:
    return f"; did you mean {' or '.join(error.did_you_mean)}?" if error.did_you_mean else ""
