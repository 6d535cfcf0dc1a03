"""Jobs as clients see and edit them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from api.schemas.resource import (
    DatasetIdExample,
    Error,
    JobIdExample,
    ListOf,
    Resource,
    Time,
    example,
    optional_time_of,
    time_of,
)
from jobs.dataset_spec import Metadata, Spec
from jobs.job import Job, JobState, JobType, allowed_actions
from jobs.job_fields import DatasetId

_ETA_LOW, _ETA_HIGH = 0.8, 1.5
_LEAST_FRACTION = 0.01


class Progress(Resource):
    """How far a job is; what it does not count is null."""

    fraction: float | None = Field(default=None, description="share of the work done, 0 to 1")
    phase: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    step: int | None = None
    steps: int | None = None
    samples_per_second: float | None = None
    bytes: int | None = Field(default=None, description="bytes fetched so far")
    total_bytes: int | None = Field(default=None, description="bytes in all, where that is known")


WaitsFor = Literal["worker", "dependency", "back_off"]
"""What keeps a queued job from running."""


class QueuePlace(Resource):
    """Where a queued job stands."""

    position: int = Field(description="1 is next")
    waiting_for: list[WaitsFor] = Field(
        description="a worker, a job that it depends on, or the pause after an error of a disk or "
        "a network (`back_off`)"
    )


class Eta(Resource):
    """Seconds until the end, from the pace so far, with the range that it is likely to lie in."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A job among the others; ``position`` only while it is queued."""

    position: int | None = None
    depends_on: Sequence[str] = ()
    waits_for: WaitsFor = "worker"


class JobResource(Resource):
    """One job."""

    model_config = example(
        id=JobIdExample,
        object="job",
        type="fine_tune",
        state="running",
        phase="unfrozen",
        name=None,
        is_terminal=False,
        allowed_actions=["cancel", "stop", "pause"],
        dataset_id=DatasetIdExample,
        depends_on=[],
        parent_id=None,
        retry_of=None,
        attempt=1,
        priority=5,
        progress={"fraction": 0.41, "phase": "unfrozen", "epoch": 3, "epochs": 9, "step": 412,
                  "steps": 1010, "samples_per_second": 318.0, "bytes": None, "total_bytes": None},
        queue=None,
        eta={"seconds": 212.0, "low": 170.0, "high": 318.0},
        version=1,
        hyperparameters={"dataset": DatasetIdExample, "epochs": 6, "learning_rate": 0.002},
        resolved={"batch_size": {"value": 64, "origin": "request"}},
        latest={"train_loss": 0.41, "valid_loss": 0.33, "accuracy": 0.91},
        best={"valid_loss": {"value": 0.31, "epoch": 2}},
        model_id=None,
        stop_reason=None,
        error=None,
        metadata={"owner": "ana"},
        created_at="2026-03-01T12:00:00.000Z",
        started_at="2026-03-01T12:00:04.000Z",
        finished_at=None,
        links={"self": f"/v1/jobs/{JobIdExample}"},
    )  # fmt: skip

    id: str
    object: Literal["job"] = "job"
    type: str = Field(
        description="dataset_import, lr_find, fine_tune, evaluation, presizing_preview, export, "
        "probe, model_export, predict or prediction; may grow"
    )
    state: str = Field(
        description="queued, preparing, running, pausing, paused, cancelling, succeeded, failed "
        "or cancelled; may grow, so decide by is_terminal and allowed_actions"
    )
    phase: str | None
    name: str | None
    is_terminal: bool = Field(description="whether the state can never change again")
    allowed_actions: list[str] = Field(description="verbs that can be POSTed to the job now")
    dataset_id: str | None
    depends_on: list[str] = Field(description="jobs that must succeed before it begins")
    parent_id: str | None = Field(description="the job that this one was made for")
    retry_of: str | None = Field(description="the job that this one does again, or trains on")
    attempt: int = Field(description="how often a worker has begun it")
    priority: int = Field(description="0 to 9, higher first")
    progress: Progress | None
    queue: QueuePlace | None = Field(description="only while queued")
    eta: Eta | None = Field(description="only while running")
    version: int = Field(description="counts edits; send it in If-Match")
    hyperparameters: dict[str, Any] = Field(description="as sent, with every default")
    resolved: dict[str, Any] = Field(description="what was used in the end, and why")
    latest: dict[str, Any] = Field(description="newest losses and metrics")
    best: dict[str, Any] = Field(description="best losses and metrics, with their epoch")
    model_id: str | None
    stop_reason: str | None = Field(
        description="why a training that succeeded ended before its last epoch: user, "
        "early_stopping or max_duration; may grow"
    )
    error: Error | None
    metadata: dict[str, str]
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job, standing: Standing, *, now_ms: int) -> "JobResource":
        """The job as a client sees it, where it stands among the others."""
        return cls(
            id=job.id,
            type=job.type.value,
            state=job.state.value,
            phase=job.phase,
            name=job.name,
            is_terminal=job.is_terminal,
            allowed_actions=list(allowed_actions(job.type, job.state)),
            dataset_id=job.dataset_id,
            depends_on=list(standing.depends_on),
            parent_id=job.parent_id,
            retry_of=job.retry_of,
            attempt=job.attempt,
            priority=job.priority,
            progress=None if job.progress is None else Progress.model_validate(job.progress),
            queue=_place(standing),
            eta=_eta(job, now_ms),
            version=job.version,
            hyperparameters=dict(job.spec),
            resolved=dict(job.resolved),
            latest=dict(job.latest),
            best=dict(job.best),
            model_id=job.model_id,
            stop_reason=job.stop_reason,
            error=None if job.error is None else Error.model_validate(job.error),
            metadata=dict(job.metadata),
            created_at=time_of(job.created_ms),
            started_at=optional_time_of(job.started_ms),
            finished_at=optional_time_of(job.finished_ms),
            links=_links(job),
        )


class JobList(ListOf[JobResource]):
    """One page of jobs."""


class JobEdit(Spec):
    """What can be changed of a job; what is absent stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    metadata: Metadata | None = Field(default=None, description="replaces all keys")
    priority: int | None = Field(default=None, ge=0, le=9, description="higher runs first")


class JobRetry(Spec):
    """What shall be different this time; nothing has to be."""

    dataset: DatasetId | None = Field(default=None, description="another dataset, by its id")
    overrides: dict[str, Any] = Field(
        default={},
        description="any field of the job's own body, which replaces the whole field; null takes "
        "the field away, for its default",
    )
    continue_epochs: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="of a fine-tune that has succeeded: train its model on for so many epochs",
    )


def _place(standing: Standing) -> QueuePlace | None:
    if standing.position is None:
        return None
    return QueuePlace(position=standing.position, waiting_for=[standing.waits_for])


def _eta(job: Job, now_ms: int) -> Eta | None:
    fraction = (job.progress or {}).get("fraction")
    if job.state != JobState.RUNNING or job.started_ms is None or not fraction:
        return None
    if not _LEAST_FRACTION <= fraction < 1:
        return None
    elapsed_s = max(now_ms - job.started_ms, 0) / 1000
    seconds = round(elapsed_s * (1 - fraction) / fraction, 1)
    return Eta(
        seconds=seconds, low=round(_ETA_LOW * seconds, 1), high=round(_ETA_HIGH * seconds, 1)
    )


_RESULTS: Mapping[JobType, tuple[str, ...]] = {
    JobType.DATASET_IMPORT: (),
    JobType.LR_FIND: ("lr-curve", "loss-curve", "plots", "reproduce"),
    JobType.FINE_TUNE: (*("loss-curve", "samples", "confusion", "classes", "plots", "reproduce"),),
    JobType.EVALUATION: ("samples", "confusion", "classes", "plots", "reproduce"),
    JobType.PRESIZING_PREVIEW: ("presizing-preview", "plots"),
    JobType.EXPORT: (),
    JobType.PROBE: (),
    JobType.MODEL_EXPORT: (),
    JobType.PREDICT: (),
    JobType.PREDICTION: ("predictions",),
}


def _links(job: Job) -> dict[str, str]:
    own = f"/v1/jobs/{job.id}"
    links = {"self": own, "events": f"{own}/events", "stream": f"{own}/stream"}
    links["logs"] = f"{own}/logs"
    links |= {verb: f"{own}/{verb}" for verb in allowed_actions(job.type, job.state)}
    links |= {name.replace("-", "_"): f"{own}/{name}" for name in _RESULTS[job.type]}
    if job.parent_id is not None:
        links["parent"] = f"/v1/jobs/{job.parent_id}"
    if job.retry_of is not None:
        links["retry_of"] = f"/v1/jobs/{job.retry_of}"
    if job.dataset_id is not None:
        links["dataset"] = f"/v1/datasets/{job.dataset_id}"
    if job.model_id is not None:
        links["model"] = f"/v1/models/{job.model_id}"
    return links
