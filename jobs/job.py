"""The life cycle of a job, as pure data: states, legal moves, what a client may ask for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class JobType(StrEnum):
    """What a job does; the value is the public name."""

    DATASET_IMPORT = "dataset_import"
    LR_FIND = "lr_find"
    FINE_TUNE = "fine_tune"
    EVALUATION = "evaluation"
    PRESIZING_PREVIEW = "presizing_preview"
    EXPORT = "export"
    PROBE = "probe"
    MODEL_EXPORT = "model_export"
    PREDICT = "predict"
    PREDICTION = "prediction"


class JobState(StrEnum):
    """Where a job stands. Clients should treat the list as open."""

    QUEUED = "queued"
    PREPARING = "preparing"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


_S = JobState

NEXT_STATES: Mapping[JobState, frozenset[JobState]] = {
    _S.QUEUED: frozenset({_S.PREPARING, _S.PAUSED, _S.CANCELLED, _S.FAILED}),
    _S.PREPARING: frozenset(
        {_S.RUNNING, _S.QUEUED, _S.PAUSING, _S.CANCELLING, _S.FAILED, _S.SUCCEEDED}
    ),
    _S.RUNNING: frozenset({_S.QUEUED, _S.PAUSING, _S.CANCELLING, _S.FAILED, _S.SUCCEEDED}),
    _S.PAUSING: frozenset({_S.PAUSED, _S.QUEUED, _S.CANCELLING, _S.FAILED, _S.SUCCEEDED}),
    _S.PAUSED: frozenset({_S.QUEUED, _S.CANCELLED, _S.FAILED}),
    _S.CANCELLING: frozenset({_S.CANCELLED}),
    _S.SUCCEEDED: frozenset(),
    _S.FAILED: frozenset(),
    _S.CANCELLED: frozenset(),
}
"""The only place that knows which moves are legal."""

FINAL_STATES = frozenset(state for state, following in NEXT_STATES.items() if not following)
LEASED_STATES = frozenset({_S.PREPARING, _S.RUNNING, _S.PAUSING, _S.CANCELLING})
"""States in which a worker holds the job under a lease."""

QUEUE_OF: Mapping[JobType, str] = {
    JobType.DATASET_IMPORT: "prepare",
    JobType.LR_FIND: "train",
    JobType.FINE_TUNE: "train",
    JobType.EVALUATION: "train",
    JobType.PRESIZING_PREVIEW: "prepare",
    JobType.EXPORT: "prepare",
    JobType.PROBE: "train",
    JobType.MODEL_EXPORT: "prepare",
    JobType.PREDICT: "predict",
    JobType.PREDICTION: "train",
}

RESUMABLE = frozenset({JobType.FINE_TUNE})
"""Types with checkpoints, which can be paused and stopped half-way."""

_RETRIABLE = frozenset(
    {
        JobType.LR_FIND,
        JobType.FINE_TUNE,
        JobType.EVALUATION,
        JobType.PREDICTION,
        JobType.PRESIZING_PREVIEW,
    }
)
_FAILED = frozenset({JobState.FAILED, JobState.CANCELLED})


def allowed_actions(job_type: JobType, state: JobState) -> tuple[str, ...]:
    """Verbs that a client may POST to a job of this type in this state."""
    actions: list[str] = []
    if state not in FINAL_STATES:
        actions.append("cancel")
    if job_type in RESUMABLE:
        if state == _S.RUNNING:
            actions.append("stop")
        if state in {_S.QUEUED, _S.PREPARING, _S.RUNNING}:
            actions.append("pause")
        if state == _S.PAUSED:
            actions.append("resume")
    if _can_be_retried(job_type, state):
        actions.append("retry")
    return tuple(actions)


def _can_be_retried(job_type: JobType, state: JobState) -> bool:
    if job_type == JobType.DATASET_IMPORT:
        # what a ready dataset was made from makes another dataset, not a better one
        return state in _FAILED
    return job_type in _RETRIABLE and state in FINAL_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed, in the words a client reads.

    Attributes:
        code: one of the documented codes, such as ``weights_unavailable``.
        message: what happened, naming the value.
        hint: what would be right, or an empty string.
        retryable: whether the same job may succeed when it is tried again.
        cause: of a job that waited for another one: that job's ``job_id``, ``code``, ``message``.
    """

    code: str
    message: str
    hint: str = ""
    retryable: bool = False
    cause: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job as the database knows it; times are milliseconds since 1970, UTC."""

    id: str
    type: JobType
    state: JobState
    phase: str | None
    name: str | None
    owner: str
    dataset_id: str | None
    parent_id: str | None
    retry_of: str | None
    priority: int
    spec_version: int
    spec: Mapping[str, Any]
    resolved: Mapping[str, Any]
    progress: Mapping[str, Any] | None
    latest: Mapping[str, Any]
    best: Mapping[str, Any]
    result: Mapping[str, Any]
    model_id: str | None
    error: Mapping[str, Any] | None
    metadata: Mapping[str, str] = field(default_factory=dict)
    attempt: int
    fence: int
    lost: int
    worker_id: str | None
    lease_until_ms: int | None
    not_before_ms: int
    stop_requested: bool
    stop_reason: str | None
    checkpoint: str | None
    checkpoint_step: int
    earlier_checkpoint: str | None
    earlier_checkpoint_step: int | None
    event_seq: int
    version: int
    cause: Mapping[str, str] | None
    created_ms: int
    started_ms: int | None
    finished_ms: int | None

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can change this job's state any more."""
        return self.state in FINAL_STATES

    @property
    def devices(self) -> int:
        """How many devices of one worker it asks for."""
        return int(self.spec.get("devices", 1))
