"""Everything that can go wrong, as RFC 9457 problems: one table of codes, one of errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse

from jobs import errors as jobs_errors
from ml.theory import errors as theory_errors
from ml.theory.architectures import UnknownArchitectureError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """One code: its status, a title that never changes, and what a client can do about it."""

    status: int
    title: str
    remedy: str


KINDS: Mapping[str, Kind] = {
    "malformed_json": Kind(400, "Malformed JSON", "Send one JSON value, encoded in UTF-8."),
    "unauthenticated": Kind(401, "Unauthenticated", "Send Authorization: Bearer and a usable key."),
    "forbidden": Kind(
        403,
        "Forbidden",
        "Use a key with the scope that is named; call the service by a name of its own.",
    ),
    "not_found": Kind(404, "Not found", "Check the path and the id."),
    "method_not_allowed": Kind(405, "Method not allowed", "Use a method that Allow names."),
    "not_acceptable": Kind(406, "Not acceptable", "Accept one of the media types that are named."),
    "invalid_state_transition": Kind(
        409, "Invalid state transition", "Use one of the actions in allowed_actions."
    ),
    "result_not_ready": Kind(
        409, "Result not ready", "Wait until the job has succeeded, then ask again."
    ),
    "dataset_not_ready": Kind(
        409, "Dataset not ready", "Wait until the dataset is ready, then submit again."
    ),
    "dataset_in_use": Kind(409, "Dataset in use", "Cancel the jobs that need it, or wait."),
    "last_admin_key": Kind(409, "Last admin key", "Make another admin key, then revoke this one."),
    "idempotency_in_progress": Kind(
        409, "Request in progress", "Wait for the first answer, then send the request again."
    ),
    "precondition_failed": Kind(
        412, "Precondition failed", "Read the resource again and repeat the edit on it."
    ),
    "payload_too_large": Kind(413, "Payload too large", "Send a smaller body."),
    "unsupported_media_type": Kind(
        415, "Unsupported media type", "Send application/json in Content-Type."
    ),
    "range_not_satisfiable": Kind(416, "Range not satisfiable", "Ask for bytes within the file."),
    "validation_failed": Kind(422, "Validation failed", "Correct the fields that errors names."),
    "invalid_regex": Kind(422, "Invalid regular expression", "Correct the pattern."),
    "regex_no_group": Kind(
        422, "No such capture group", "Put the label in brackets, or name another group."
    ),
    "labels_unmatched": Kind(
        422, "Labels unmatched", "Change the rule, or let names without a match be skipped."
    ),
    "labels_mismatch": Kind(
        422,
        "Labels mismatch",
        "Give each label that is named a class of the model, or null, in label_mapping.",
    ),
    "too_few_classes": Kind(422, "Too few classes", "Provide photos of two classes or more."),
    "too_few_images": Kind(422, "Too few images", "Provide more photos."),
    "idempotency_key_reused": Kind(422, "Idempotency key reused", "Send a fresh key."),
    "source_forbidden": Kind(422, "Source forbidden", "Name a path inside an allowed root."),
    "source_unreachable": Kind(422, "Source unreachable", "Name a folder that can be read."),
    "weights_unavailable": Kind(
        422, "Weights unavailable", "Name weights that exist for the architecture."
    ),
    "unknown_architecture": Kind(422, "Unknown architecture", "Name one of GET /v1/architectures."),
    "internal": Kind(500, "Internal error", "Tell the operator the request_id."),
    "no_workers": Kind(503, "No workers", "Start a worker of the queue that is named."),
    "unavailable": Kind(503, "Unavailable", "Try again in a moment."),
}
"""The only place that knows which code has which status."""

CODE_OF: Mapping[type[Exception], str] = {
    jobs_errors.NotFoundError: "not_found",
    jobs_errors.InvalidTransitionError: "invalid_state_transition",
    jobs_errors.LeaseLostError: "invalid_state_transition",
    jobs_errors.ResultNotReadyError: "result_not_ready",
    jobs_errors.DatasetNotReadyError: "dataset_not_ready",
    jobs_errors.DatasetInUseError: "dataset_in_use",
    jobs_errors.SourceForbiddenError: "source_forbidden",
    jobs_errors.SourceUnreachableError: "source_unreachable",
    jobs_errors.IdempotencyKeyReusedError: "idempotency_key_reused",
    jobs_errors.IdempotencyInProgressError: "idempotency_in_progress",
    jobs_errors.LastAdminKeyError: "last_admin_key",
    jobs_errors.UnstorableValueError: "validation_failed",
    jobs_errors.StoreUnavailableError: "unavailable",
    jobs_errors.JobsError: "internal",
    theory_errors.InvalidRegexError: "invalid_regex",
    theory_errors.NoGroupError: "regex_no_group",
    theory_errors.LabelsMismatchError: "labels_mismatch",
    UnknownArchitectureError: "unknown_architecture",
    theory_errors.TheoryError: "validation_failed",
}
"""Domain error to code; the nearest class in the error's ancestry counts."""

_WORTH_A_RETRY = frozenset(
    {"result_not_ready", "dataset_not_ready", "idempotency_in_progress", "unavailable"}
)


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
    retry = code in _WORTH_A_RETRY and getattr(error, "state", None) not in _NEVER_READY
    return Problem(
        code,
        str(error),
        errors=_fields(code, error),
        headers={"Retry-After": str(RETRY_AFTER_S)} if retry else {},
        members=_members(error),
    )


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
        "instance": instance,
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
    examples = {code: {"summary": KINDS[code].title, "value": _example(code)} for code in codes}
    return {
        "description": remedies,
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/ProblemDetails"},
                "examples": examples,
            }
        },
    }


def _example(code: str) -> dict[str, Any]:
    kind = KINDS[code]
    return {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "code": code,
        "detail": kind.remedy,
        "instance": "/v1/…",
        "request_id": "req_01jd2s4ah2f3kv8m6q0x5w9c7e",
    }
