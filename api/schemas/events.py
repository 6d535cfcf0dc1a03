"""The history of a job, as pages and as a stream."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.resource import JobIdExample, ListOf, Resource, Time, example, time_of
from jobs.events import Event


class EventResource(Resource):
    """One thing that happened to a job."""

    model_config = example(
        object="event",
        job_id=JobIdExample,
        seq=7,
        type="job.epoch_completed",
        at="2026-03-01T12:01:40.000Z",
        data={"epoch": 0, "phase": "frozen", "train_loss": 0.82, "valid_loss": 0.51,
              "accuracy": 0.84, "error_rate": 0.16, "seconds": 31.2},
    )  # fmt: skip

    object: Literal["event"] = "event"
    job_id: str
    seq: int = Field(description="counts from 1 within the job, without gaps")
    type: str
    at: Time
    data: dict[str, Any]

    @classmethod
    def of(cls, event: Event) -> "EventResource":
        """The event as a client sees it."""
        return cls(
            job_id=event.job_id,
            seq=event.seq,
            type=event.type,
            at=time_of(event.at_ms),
            data=dict(event.data),
        )


class StreamToken(Resource):
    """What lets a page watch one job."""

    model_config = example(
        object="stream_token",
        token="tst_1Q0x5w9c7e1Q0x5w9c7e1Q0x5w9c7e1Q0x5w9c7e1Q0",  # noqa: S106 - an example
        job_id=JobIdExample,
        url=f"/v1/jobs/{JobIdExample}/stream?token=tst_1Q0x5w9c7e1Q0x5w9c7e1Q0x5w9c7e1Q0x5w9c7e1Q0",
    )

    object: Literal["stream_token"] = "stream_token"
    token: str = Field(description="good until ten minutes after the job's end; told once")
    job_id: str
    url: str = Field(description="what an EventSource is opened with")


class LogLine(Resource):
    """One line of a job's log."""

    model_config = example(object="log_line", offset=0, text="12:00:01 [info] epoch 0 of 3 begins")

    object: Literal["log_line"] = "log_line"
    offset: int = Field(description="the byte of the log at which it begins; send it as `after`")
    text: str


class LogPage(ListOf[LogLine]):
    """One page of a job's log."""


class EventList(ListOf[EventResource]):
    """One page of a job's history."""
