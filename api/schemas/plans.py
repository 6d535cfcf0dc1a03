"""What a dry run answers: every value, the steps, the schedule, and what it would take."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.resource import DatasetIdExample, JobIdExample, Resource, Time, example


class PlannedValue(Resource):
    """One value that the job would use, and who decided it."""

    value: Any
    origin: str = Field(
        description="request, default, dataset, architecture, learning_rate, lr_find, fine_tune, "
        "hardware or environment; may grow"
    )
    job_id: str | None = Field(default=None, description="the job that it comes from")
    rule: str | None = Field(default=None, description="the rule by which that job chose it")
    note: str | None = Field(default=None, description="what to know before asking for it")


class PlannedPhase(Resource):
    """One row of optimiser steps."""

    name: str = Field(description="sweeping, frozen or unfrozen")
    job: str = Field(description="type of the job that takes them: lr_find or fine_tune")
    epochs: int | None = Field(description="null for a sweep, which counts steps")
    steps_per_epoch: int | None = Field(description="null while the photos are not counted")
    steps: int | None = Field(description="at the most: a sweep ends early when it diverges")


class PlannedSchedule(Resource):
    """Rate and momentum of the steps that are listed."""

    name: str
    steps: list[int] = Field(description="within the phase, from 0; first, highest, last kept")
    lr: list[list[float]] | None = Field(
        description="for each listed step the rate of each layer group, the head last; null while "
        "the rate is not known"
    )
    momentum: list[float]


class EstimatedPart(Resource):
    """Seconds of one kind of work."""

    name: str = Field(
        description="start, presizing, sweeping, frozen, unfrozen, evaluation, checkpoints or "
        "ending; may grow"
    )
    seconds: float
    count: int = Field(description="how often: photos, steps, photos evaluated, checkpoints")


class EstimatedMemory(Resource):
    """The most memory that the training would hold."""

    kind: Literal["device", "resident"] = Field(
        description="device: reserved on a GPU; resident: the trainer's resident memory, shared "
        "libraries included, without page_cache_bytes"
    )
    peak_bytes: int
    total_bytes: int = Field(description="that the device or the host has")
    page_cache_bytes: int = Field(
        description="presized pixels that the trainer maps as well; they count as resident, but "
        "the system takes them back when it needs them"
    )


class Measured(Resource):
    """The probe that the estimate is made from."""

    job_id: str
    at: Time
    device: str
    is_reused: bool = Field(description="whether an earlier dry run had asked for it")
    steps: dict[str, int] = Field(description="steps measured in each phase")


class Estimate(Resource):
    """How long it would take from its start, and how much memory."""

    fits: bool = Field(description="false when the memory did not suffice for a single step")
    seconds: float | None
    low: float | None
    high: float | None
    parts: list[EstimatedPart]
    memory: EstimatedMemory | None
    measured: Measured


class NoEstimate(Resource):
    """Why there is no estimate, and what to do."""

    code: str = Field(
        description="no_workers, workers_busy, probe_pending, probe_failed, several_devices or "
        "dataset_not_imported; may grow"
    )
    detail: str
    job_id: str | None = Field(description="the probe; ask again once it has ended")


class Plan(Resource):
    """What a job would do; it was not queued."""

    model_config = example(
        object="plan",
        type="fine_tune",
        resolved={
            "epochs": {"value": 6, "origin": "request", "job_id": None, "rule": None,
                       "note": None},
            "batch_size": {"value": 32, "origin": "dataset", "job_id": None, "rule": None,
                           "note": None},
            "learning_rate": {"value": 0.0014, "origin": "lr_find", "job_id": JobIdExample,
                              "rule": "recommended", "note": None},
        },
        phases=[{"name": "frozen", "job": "fine_tune", "epochs": 1, "steps_per_epoch": 9,
                 "steps": 9}],
        schedule=[{"name": "frozen", "steps": [0, 8], "lr": [[5.6e-06, 5.6e-06, 5.6e-05],
                   [0.00014, 0.00014, 0.0014]], "momentum": [0.95, 0.85]}],
        estimate={
            "fits": True, "seconds": 61.0, "low": 52.0, "high": 79.0,
            "parts": [{"name": "unfrozen", "seconds": 40.5, "count": 54}],
            "memory": {"kind": "resident", "peak_bytes": 1500000000, "total_bytes": 16000000000,
                       "page_cache_bytes": 230000000},
            "measured": {"job_id": JobIdExample, "at": "2026-03-01T12:00:00.000Z", "device": "cpu",
                         "is_reused": False, "steps": {"frozen": 5, "unfrozen": 4}},
        },
        no_estimate=None,
        links={"dataset": f"/v1/datasets/{DatasetIdExample}"},
    )  # fmt: skip

    object: Literal["plan"] = "plan"
    type: str = Field(description="of the job: lr_find or fine_tune")
    resolved: dict[str, PlannedValue] = Field(description="every value that the job would use")
    phases: list[PlannedPhase] = Field(description="in the order in which they run")
    schedule: list[PlannedSchedule] = Field(description="of the same phases")
    estimate: Estimate | None
    no_estimate: NoEstimate | None = Field(description="set where estimate is null")
    links: dict[str, str]
