"""What made a job: the request's id, and where its trace goes on; kept in the job's row."""

import structlog

from jobs import tracing


def of_now() -> dict[str, str] | None:
    """The request that is being answered, for what it submits; None outside of any."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    found = {"request_id": request_id, "traceparent": tracing.traceparent()}
    return {name: value for name, value in found.items() if value is not None} or None
