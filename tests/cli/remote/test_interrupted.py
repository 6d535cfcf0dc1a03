"""Watching over a connection that breaks, and watching that is given up."""

import json
import os
import signal
from collections.abc import Iterator

import pytest

import tests.api.conftest  # noqa: F401  (silences the test client, so it comes first)
from api.schemas.jobs import JobResource
from tests.cli.conftest import Command
from tests.client.examples import example_of
from tests.client.test_broken_connections import a_stream, breaking_off, in_turn
from tests.web_server import Handler, WebServer, serving, status

STREAM = "/v1/jobs/job_1/stream"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server that does what it is told, and that commands ask."""
    with serving() as server:
        monkeypatch.setenv("TUNESMITH_URL", server.url(""))
        yield server


def test_a_connection_that_breaks_is_told_and_made_again(
    tunesmith: Command, server: WebServer
) -> None:
    ended = {"id": "job_1", "state": "succeeded", "is_terminal": True}
    job = example_of(JobResource) | ended
    server.answers["/v1/jobs/job_1"] = status(200, json.dumps(job).encode())
    server.answers[STREAM] = in_turn(
        a_stream([(1, "job.queued"), (2, "job.paused")]),
        breaking_off,
        a_stream([(3, "job.resumed"), (4, "job.succeeded")]),
    )

    code, out, err = tunesmith("watch", "job_1")

    assert code == 0
    assert ["valid", "loss", "0.330", "(best", "0.310", "in", "epoch", "2)"] in [
        line.split() for line in out.splitlines()
    ]
    lost = [line for line in err.splitlines() if "connection lost" in line]
    assert len(lost) == 2
    assert err.index("paused") < err.index("connection lost") < err.index("resumed")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C counts, which a process that runs tests for another one leaves aside."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_giving_up_watching_leaves_the_job_and_says_how_to_go_on(
    tunesmith: Command, server: WebServer
) -> None:
    def interrupting(handler: Handler) -> None:
        a_stream([])(handler)
        os.kill(os.getpid(), signal.SIGINT)
        server.over.wait()

    server.answers[STREAM] = in_turn(a_stream([(1, "job.queued")]), interrupting)

    code, out, err = tunesmith("watch", "job_1", "--json")

    assert code == 130
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["job.queued"]
    assert "the job runs on" in err
    assert "tunesmith watch job_1" in err
    assert {path for path, _ in server.asked} == {STREAM}
