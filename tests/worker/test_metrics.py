"""A worker shows what it counts, on the port of its queue, if it is told to."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import httpx
import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from jobs import metrics
from jobs.queue import LOOK_TASKS
from jobs.settings import Settings
from worker import metrics_server


@pytest.fixture(autouse=True)
def closed_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No server outlives its test, and no collector stays with this process."""
    with ExitStack() as stack:

        def start(port: int, host: str) -> None:
            server, thread = prometheus_client.start_http_server(port, host)
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)

        monkeypatch.setattr(metrics_server, "start_http_server", start)
        monkeypatch.setattr(metrics_server, "REGISTRY", CollectorRegistry())
        yield


def free_port() -> int:
    """A port that nobody has at this moment."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_each_worker_shows_its_metrics_on_a_port_of_its_queue(settings: Settings) -> None:
    port = free_port()
    told = settings.model_copy(update={"metrics_port": port - 2})
    metrics.TRAINER_EXITS.labels("ok").inc()

    first = metrics_server.show_metrics(told, "train")
    second = metrics_server.show_metrics(told, "train")

    # where another program has a port the one after the next queues' is taken
    assert first == f"127.0.0.1:{port}"
    assert second is not None
    assert (int(second.rpartition(":")[2]) - port) % len(LOOK_TASKS) == 0
    for address in (first, second):
        text = httpx.get(f"http://{address}/metrics").text
        assert 'tunesmith_trainer_exits_total{outcome="ok"}' in text


def test_who_is_bound_to_every_address_is_found_by_its_host(settings: Settings) -> None:
    told = settings.model_copy(
        update={"metrics_port": free_port(), "metrics_host": "0.0.0.0"}  # noqa: S104 - meant
    )

    address = metrics_server.show_metrics(told, "predict")

    assert address is not None
    assert address.rpartition(":")[0] == socket.gethostname()


def test_without_a_free_port_jobs_are_done_all_the_same(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server, "_TRIES", 1)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken, capture_logs() as lines:
        told = settings.model_copy(update={"metrics_port": taken.getsockname()[1]})

        assert metrics_server.show_metrics(told, "predict") is None

    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "metrics_not_shown"
    ]


def test_nothing_is_shown_unless_it_is_asked_for(settings: Settings) -> None:
    assert settings.metrics_port == 0
    assert metrics_server.show_metrics(settings, "train") is None
