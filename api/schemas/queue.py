"""The queue and the process itself as clients see them."""

from typing import Literal

from pydantic import ConfigDict, Field, RootModel

from api.schemas.resource import Resource, Time, example, time_of
from jobs.presence import Worker


class WorkerResource(Resource):
    """A worker that was heard of in the last half minute."""

    id: str
    queue: str
    device: str
    devices: int = Field(description="how many devices it owns, which one job of it can share")
    hostname: str
    metrics: str | None = Field(description="`host:port` of its metrics for Prometheus, if shown")
    started_at: Time
    last_seen_at: Time

    @classmethod
    def of(cls, worker: Worker) -> "WorkerResource":
        """The worker as a client sees it."""
        return cls(
            id=worker.id,
            queue=worker.queue,
            device=worker.device,
            devices=worker.devices,
            hostname=worker.hostname,
            metrics=worker.metrics,
            started_at=time_of(worker.started_ms),
            last_seen_at=time_of(worker.seen_ms),
        )


class MetricsTargets(Resource):
    """Addresses that Prometheus is to ask, and what it is to know of them."""

    targets: list[str] = Field(description="`host:port` of each")
    labels: dict[str, str] = Field(description="that the metrics of all of them get")


class MetricsDiscovery(RootModel[list[MetricsTargets]]):
    """What Prometheus's HTTP service discovery wants to be answered."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": [{"targets": ["box:9103", "box:9106"], "labels": {"queue": "train"}}]
        }
    )


class QueueDepth(Resource):
    """One queue: its unfinished jobs by state, and how many workers serve it."""

    name: str
    queued: int
    active: int = Field(description="jobs that a worker holds")
    paused: int
    workers: int


class RedisStatus(Resource):
    """Whether the doorbell works; without it jobs start a few seconds later."""

    is_reachable: bool


class QueueResource(Resource):
    """What waits, who works, and whether the doorbell rings."""

    model_config = example(
        object="queue",
        queues=[{"name": "train", "queued": 2, "active": 1, "paused": 0, "workers": 1}],
        workers=[
            {"id": "box-train-1", "queue": "train", "device": "cuda:0", "devices": 1,
             "hostname": "box", "metrics": "box:9103", "started_at": "2026-03-01T11:00:00.000Z",
             "last_seen_at": "2026-03-01T12:00:00.000Z"}
        ],
        devices=["cuda:0"],
        redis={"is_reachable": True},
    )  # fmt: skip

    object: Literal["queue"] = "queue"
    queues: list[QueueDepth]
    workers: list[WorkerResource]
    devices: list[str] = Field(description="that train workers compute on")
    redis: RedisStatus


class Readiness(Resource):
    """Whether requests can be served; missing workers or Redis do not stop clients queueing."""

    model_config = example(
        status="ready",
        database={"is_reachable": True, "is_current": True},
        redis={"is_reachable": True},
        workers=2,
        devices=["cpu"],
    )

    status: Literal["ready"] = "ready"
    database: dict[str, bool]
    redis: RedisStatus
    workers: int
    devices: list[str]


class Health(Resource):
    """The process answers."""

    model_config = example(status="ok")

    status: Literal["ok"] = "ok"


class Version(Resource):
    """What is running."""

    model_config = example(name="tunesmith", version="0.1.0", api="v1", python="3.11.7")

    name: str
    version: str
    api: str
    python: str


class ProblemType(Resource):
    """What a problem's code means and what to do about it."""

    model_config = example(
        type="/problems/not_found",
        code="not_found",
        title="Not found",
        status=404,
        remedy="Check the path and the id.",
    )

    type: str
    code: str
    title: str
    status: int
    remedy: str
