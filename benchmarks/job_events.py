"""When what happened to a job: by the service's own clock, not when it was read."""

from collections.abc import Iterator
from datetime import datetime

from tunesmith_client import Client, Json

Moment = tuple[str, float, Json]
"""Type of an event, the Unix time at which it was written, and its data."""


def events_behind(client: Client, job_id: str, number: int = 0) -> list[Moment]:
    """The job's events so far, behind that of a number."""
    return list(_paged(client, job_id, number))


def ended(client: Client, job_id: str) -> list[Moment]:
    """All events of the job, once it has ended."""
    for _ in client.jobs.events(job_id):
        pass
    return events_behind(client, job_id)


def _paged(client: Client, job_id: str, number: int) -> Iterator[Moment]:
    after: int | str = number
    while True:
        page = client.get(f"/v1/jobs/{job_id}/events", limit=200, after=after)
        for event in page["data"]:
            yield event["type"], datetime.fromisoformat(event["at"]).timestamp(), event["data"]
        if not page["has_more"]:
            return
        after = page["next_cursor"]
