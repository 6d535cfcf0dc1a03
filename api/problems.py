"""Everything that can go wrong, as RFC 9457 problems: one table of codes, one of errors."""

import errno
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from api.problem_kinds import KINDS as KINDS
from jobs import errors as jobs_errors
from ml.theory import errors as theory_errors
from ml.theory.architectures import UnknownArchitectureError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
_LONGEST_INSTANCE = 500
"""Characters of a path that are said again; no path of this service is as long."""

log = structlog.get_logger(__name__)

CODE_OF: Mapping[type[Exception], str] = {
    jobs_errors.NotFoundError: "not_found",
    jobs_errors.InvalidTransitionError: "invalid_state_transition",
    jobs_errors.LeaseLostError: "invalid_state_transition",
    jobs_errors.ResultNotReadyError: "result_not_ready",
    jobs_errors.DatasetNotReadyError: "dataset_not_ready",
    jobs_errors.DatasetInUseError: "dataset_in_use",
    jobs_errors.ModelInUseError: "model_in_use",
    jobs_errors.UploadInUseError: "upload_in_use",
    jobs_errors.ArchiveInvalidError: "archive_invalid",
    jobs_errors.ArchiveTooLargeError: "archive_too_large",
    jobs_errors.DigestMismatchError: "digest_mismatch",
    jobs_errors.LabelFileInvalidError: "label_file_invalid",
    jobs_errors.DiskFullError: "disk_full",
    jobs_errors.QuotaExceededError: "quota_exceeded",
    jobs_errors.SourceForbiddenError: "source_forbidden",
    jobs_errors.SourceUnreachableError: "source_unreachable",
    jobs_errors.SourceInterruptedError: "source_unreachable",
    jobs_errors.SourceTimeoutError: "source_unreachable",
    jobs_errors.IdempotencyKeyReusedError: "idempotency_key_reused",
    jobs_errors.IdempotencyInProgressError: "idempotency_in_progress",
    jobs_errors.LastAdminKeyError: "last_admin_key",
    jobs_errors.WebhookDisabledError: "webhook_disabled",
    jobs_errors.UnstorableValueError: "validation_failed",
    jobs_errors.StoreUnavailableError: "unavailable",
    jobs_errors.NewerDatabaseError: "unavailable",
    jobs_errors.JobsError: "internal",
    theory_errors.InvalidRegexError: "invalid_regex",
    theory_errors.NoGroupError: "regex_no_group",
    theory_errors.LabelsMismatchError: "labels_mismatch",
    UnknownArchitectureError: "unknown_architecture",
    theory_errors.TheoryError: "validation_failed",
}
"""Domain error to code; the nearest class in the error's ancestry counts."""

_RETRY_AFTER_S = {
    **dict.fromkeys(("result_not_ready", "dataset_not_ready"), RETRY_AFTER_S),
    **dict.fromkeys(("idempotency_in_progress", "unavailable"), RETRY_AFTER_S),
    # jobs have to end first, or their owner has to delete something
    "quota_exceeded": 60,
}


class FieldProblem(BaseModel):
    """One thing that is wrong with the input, and where."""

    model_config = ConfigDict(frozen=True)

    pointer: str = Field(
        description="JSON Pointer into the body, or /query/…, /path/…, /header/…",
        examples=["/batch_size"],
    )
    code: str = Field(examples=["out_of_range"])
    detail: str = Field(examples=["Input should be less than or equal to 4096 (got 5000)"])
    allowed: tuple[str, ...] | None = Field(default=None, description="values that are accepted")
    did_you_mean: tuple[str, ...] | None = Field(default=None, description="closest valid names")


class ProblemDetails(BaseModel):
    """The body of every answer that is not a success (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/not_found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    code: str = Field(examples=["not_found"])
    detail: str = Field(examples=["no job has the id 'job_01jd2s4ah2f3kv8m6q0x5w9c7e'"])
    instance: str = Field(examples=["/v1/jobs/job_01jd2s4ah2f3kv8m6q0x5w9c7e"])
    request_id: str = Field(examples=["req_01jd2s4ah2f3kv8m6q0x5w9c7e"])
    errors: tuple[FieldProblem, ...] | None = None


class Problem(Exception):  # noqa: N818  (RFC 9457's own noun)
    """An answer that is not a success, raised wherever it becomes certain."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldProblem] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def below(self, pointer: str) -> "Problem":
        """The same problem of an object that lies at this pointer of a larger body."""
        fields = [
            field.model_copy(update={"pointer": pointer + field.pointer}) for field in self.errors
        ]
        return Problem(
            self.code, self.detail, errors=fields, headers=self.headers, members=self.members
        )


def at(
    pointer: str,
    code: str,
    detail: str,
    *,
    allowed: Sequence[str] | None = None,
    did_you_mean: Sequence[str] | None = None,
) -> Problem:
    """A problem with one field of the input; both the whole and the field carry the code."""
    field = FieldProblem(
        pointer=pointer,
        code=code,
        detail=detail,
        allowed=None if allowed is None else tuple(allowed),
        did_you_mean=tuple(did_you_mean) if did_you_mean else None,
    )
    return Problem(code, detail, errors=[field])


def escaped(name: str) -> str:
    """The name as one step of a JSON Pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def from_domain(error: Exception) -> Problem:
    """The problem that a domain error stands for.

    Raises:
        KeyError: no class of the error's ancestry is in `CODE_OF`.
    """
    code = next(CODE_OF[ancestor] for ancestor in type(error).__mro__ if ancestor in CODE_OF)
    is_hopeless = getattr(error, "state", None) in _NEVER_READY
    after_s = None if is_hopeless else _RETRY_AFTER_S.get(code)
    return Problem(
        code,
        str(error),
        errors=_fields(code, error),
        headers={} if after_s is None else {"Retry-After": str(after_s)},
        members=_members(error),
    )


def from_disk(error: OSError) -> Problem:
    """The problem that an error of the artifacts' disk stands for; its path is for logs alone."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Problem("disk_full", "no space is left in the artifact store")
    log.error("artifacts_unusable", error=str(error))
    if isinstance(error, FileNotFoundError):
        return Problem("internal", "a file that should be in the artifact store is not")
    detail = f"the artifact store cannot be used: {error.strerror or type(error).__name__}"
    return Problem("unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_S)})


_NEVER_READY = frozenset({"failed", "cancelled", "succeeded"})


def _fields(code: str, error: Exception) -> list[FieldProblem]:
    if isinstance(error, theory_errors.LabelsMismatchError):
        return [_misfit(code, misfit) for misfit in error.misfits]
    if isinstance(error, theory_errors.InvalidInputError):
        return [FieldProblem(pointer=f"/{error.field}", code=code, detail=str(error))]
    return []


def _misfit(code: str, misfit: theory_errors.LabelMisfit) -> FieldProblem:
    return FieldProblem(
        pointer=f"/label_mapping/{escaped(misfit.label)}",
        code=code,
        detail=f"{misfit.label!r}: {misfit.detail}",
        did_you_mean=misfit.near or None,
    )


def _members(error: Exception) -> dict[str, Any]:
    if isinstance(error, jobs_errors.InvalidTransitionError):
        return {"state": str(error.state), "allowed_actions": list(error.allowed_actions)}
    if isinstance(error, jobs_errors.DatasetNotReadyError | jobs_errors.ResultNotReadyError):
        return {"state": str(error.state)}
    return {}


def response_of(problem: Problem, *, instance: str, request_id: str) -> JSONResponse:
    """The problem as an answer."""
    kind = KINDS[problem.code]
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code}",
        "title": kind.title,
        "status": kind.status,
        "code": problem.code,
        "detail": problem.detail,
        "instance": instance[:_LONGEST_INSTANCE],
        "request_id": request_id,
        **problem.members,
    }
    if problem.errors:
        body["errors"] = [field.model_dump(exclude_none=True) for field in problem.errors]
    return JSONResponse(
        body, status_code=kind.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def problem_responses(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The documentation of these problems, for an operation's ``responses``."""
    by_status: dict[int | str, list[str]] = {}
    for code in (*codes, "unavailable"):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {status: _documented(names) for status, names in sorted(by_status.items())}


def _documented(codes: Sequence[str]) -> dict[str, Any]:
    remedies = "; ".join(f"`{code}`: {KINDS[code].remedy}" for code in codes)
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return {
        "description": remedies,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                "examples": examples,
            }
        },
    }


def problem_examples() -> dict[str, Any]:
    """One of each kind, for the components of the document, to which every operation refers."""
    return {
        code: {
            "summary": kind.title,
            "value": {
                "type": f"/problems/{code}",
                "title": kind.title,
                "status": kind.status,
                "code": code,
                "detail": kind.remedy,
                "instance": "/v1/…",
                "request_id": "req_01jd2s4ah2f3kv8m6q0x5w9c7e",
            },
        }
        for code, kind in KINDS.items()
    }
