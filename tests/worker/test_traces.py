"""A trace goes from the request by way of the queue to the trainer's phases, in real processes."""

import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import tests.api.conftest  # noqa: F401  (silences the test client, so it comes first)
from api.app import create_app
from jobs import store, tracing
from jobs.database import Database
from jobs.job import JobState
from jobs.settings import Settings
from tests.api.given import CATS
from tests.jobs.given import a_job
from tests.web_server import WebServer, serving, status
from tests.worker.conftest import wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

SENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass(frozen=True, slots=True)
class Told:
    """One span as the collector got it."""

    service: str
    name: str
    trace: str
    span: str
    parent: str


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A collector that takes what every process of the test sends by OTLP."""
    with serving() as server:
        server.answers["/v1/traces"] = status(200, Content_Type="application/x-protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url(""))
        tracing.begin("tunesmith-api", server.url(""))
        yield server
        tracing.end()
        tracing.begin("tunesmith-api", None)


def spans(server: WebServer) -> list[Told]:
    """All that was sent so far."""
    found = []
    for (_, headers), body in zip(server.asked, server.bodies, strict=True):
        content = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            found += [
                Told(
                    names["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]
    return found


def names_of(told: list[Told]) -> set[str]:
    """What the spans are called."""
    return {each.name for each in told}


def test_one_trace_joins_the_request_its_job_and_the_phases(
    collector: WebServer,
    quick: Settings,
    database: Database,
    work: Callable[[str], Supervisor],
) -> None:
    from starlette.testclient import TestClient

    folder = quick.dataset_roots[0] / "tiny"
    write_photos(folder)
    body = {**CATS, "source": {"type": "path", "path": str(folder)}}
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        answer = client.post("/v1/datasets", json=body, headers={"traceparent": SENT})
    job_id = answer.json()["job_id"]
    work("prepare")
    ended = wait_for(database, job_id, lambda job: job.is_terminal)
    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.cause is not None
    assert ended.cause["request_id"] == answer.headers["x-request-id"]
    tracing.end()

    wait_for(database, job_id, lambda _: "job dataset_import" in names_of(spans(collector)))

    by_name = {each.name: each for each in spans(collector)}
    request, job = by_name["POST /v1/datasets"], by_name["job dataset_import"]
    assert {each.trace for each in by_name.values()} == {SENT.split("-")[1]}
    assert request.parent == SENT.split("-")[2]
    assert job.parent == request.span
    phases = {name for name in by_name if name.startswith("phase ")}
    assert phases == {"phase listing", "phase checking"}
    assert {by_name[name].parent for name in phases} == {job.span}
    services = [each.service for each in (request, job, by_name["phase checking"])]
    assert services == ["tunesmith-api", "tunesmith-trainer", "tunesmith-trainer"]


def test_without_a_collector_there_is_no_trace(database: Database) -> None:
    job = a_job(database)

    assert store.get(database, job.id).cause is None
    with tracing.span("a", parent=SENT) as span:
        span.tell("b", c=1)
        tracing.enter_phase("d")
        assert tracing.traceparent() is None


def test_a_lack_of_the_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(tracing, "import_module", missing)

    with pytest.raises(tracing.TracesUnavailableError, match=r"pip install 'tunesmith\[otel\]'"):
        tracing.begin("tunesmith-api", "http://127.0.0.1:4318")
