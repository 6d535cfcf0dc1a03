import threading
from collections.abc import Callable, Iterator

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from jobs import events, verbs
from jobs.database import Database
from jobs.job import JobState, JobType
from jobs.queue import Doorbell
from jobs.settings import Settings
from tests.api.conftest import Act
from tests.api.given import problem, queued, ready_dataset
from tests.jobs.given import job_in


def blocks(text: str) -> list[dict[str, str]]:
    """The events of a stream, each with its fields."""
    found = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in found]


def test_a_finished_job_is_replayed_to_its_end(client: TestClient, database: Database) -> None:
    job = job_in(database, JobState.SUCCEEDED)

    response = client.get(f"/v1/jobs/{job.id}/stream")

    retry, *sent = blocks(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-request-id"].startswith("req_")
    assert retry == {"retry": "3000"}
    assert [int(event["id"]) for event in sent] == list(range(1, job.event_seq + 1))
    assert sent[-1]["event"] == "job.succeeded"
    assert f'"job_id":"{job.id}"' in sent[-1]["data"]


def test_a_stream_goes_on_behind_the_last_event_received(
    client: TestClient, database: Database
) -> None:
    job = job_in(database, JobState.SUCCEEDED)

    response = client.get(
        f"/v1/jobs/{job.id}/stream", headers={"Last-Event-ID": str(job.event_seq - 1)}
    )

    assert [event["event"] for event in blocks(response.text)[1:]] == ["job.succeeded"]


@pytest.mark.parametrize("beyond", [0, 5])
def test_a_stream_read_to_its_end_is_over(
    client: TestClient, database: Database, beyond: int
) -> None:
    job = job_in(database, JobState.SUCCEEDED)

    response = client.get(
        f"/v1/jobs/{job.id}/stream", headers={"Last-Event-ID": str(job.event_seq + beyond)}
    )

    assert (response.status_code, response.content) == (204, b"")


def test_an_event_id_that_is_none_is_refused(client: TestClient, database: Database) -> None:
    job = job_in(database, JobState.SUCCEEDED)

    response = client.get(f"/v1/jobs/{job.id}/stream", headers={"Last-Event-ID": "last"})

    problem(response, 422, "validation_failed", "/header/last-event-id")


def test_the_stream_of_an_unknown_job_is_a_problem(client: TestClient) -> None:
    problem(client.get("/v1/jobs/job_nobody/stream"), 404, "not_found")


def test_without_a_doorbell_the_next_look_finds_what_happened(
    client: TestClient, database: Database, once_watched: Callable[[Act], None]
) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    once_watched(lambda: verbs.cancel(database, job.id))

    response = client.get(f"/v1/jobs/{job.id}/stream")

    types = [event["event"] for event in blocks(response.text)[1:]]
    assert types == ["job.queued", "job.cancelled"]


def test_the_stream_of_a_deleted_job_ends(
    client: TestClient, database: Database, once_watched: Callable[[Act], None]
) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))

    def vanish() -> None:
        verbs.cancel(database, job.id)
        client.delete(f"/v1/jobs/{job.id}")

    once_watched(vanish)
    response = client.get(f"/v1/jobs/{job.id}/stream")

    assert blocks(response.text)[1]["event"] == "job.queued"


@pytest.fixture
def with_redis(settings: Settings, redis_url: str) -> Iterator[TestClient]:
    """A client of an application with a doorbell."""
    ringing = settings.model_copy(update={"redis_url": redis_url})
    with TestClient(create_app(ringing), base_url="http://127.0.0.1") as client:
        yield client


def test_one_ring_reaches_every_reader_of_the_job(
    with_redis: TestClient, database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nobody looks by himself within the test's time
    monkeypatch.setattr("api.live_events.LOOK_S", 60.0)
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    texts: list[str] = []
    path = f"/v1/jobs/{job.id}/stream"
    readers = [
        threading.Thread(target=lambda: texts.append(with_redis.get(path).text)) for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    services = with_redis.app.state.services  # type: ignore[attr-defined]  # a FastAPI
    while len(services.live_events) < len(readers) or not services.feed.is_connected:
        threading.Event().wait(0.02)

    verbs.cancel(database, job.id)
    doorbell = Doorbell(redis_url)
    doorbell.happened(job.id)
    for reader in readers:
        reader.join(timeout=20)
    doorbell.close()

    assert [blocks(text)[-1]["event"] for text in texts] == ["job.cancelled"] * 3
    assert events.read_after(database, job.id, 0)[-1].is_final


def test_streams_end_when_the_process_is_told_to(
    client: TestClient, database: Database, once_watched: Callable[[Act], None]
) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    feed = client.app.state.services.feed  # type: ignore[attr-defined]  # a FastAPI
    once_watched(feed.end)

    response = client.get(f"/v1/jobs/{job.id}/stream")

    assert [event["event"] for event in blocks(response.text)[1:]] == ["job.queued"]
