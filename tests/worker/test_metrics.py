"""A worker shows what it counts, on the port of its queue, if it is told to."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from jobs import metrics
from jobs.settings import Settings
from worker import app


@pytest.fixture(autouse=True)
def closed_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No server outlives its test, and no collector stays with this process."""
    with ExitStack() as stack:

        def start(port: int, host: str) -> None:
            server, thread = prometheus_client.start_http_server(port, host)
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)

        monkeypatch.setattr(app, "start_http_server", start)
        monkeypatch.setattr(app, "REGISTRY", CollectorRegistry())
        yield


def free_port() -> int:
    """A port that nobody has at this moment."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port: int = taken.getsockname()[1]
        return port


def shown(settings: Settings, queue: str) -> list[Any]:
    """The events of the log."""
    with capture_logs() as lines:
        app._show_metrics(settings, queue)
    return [line["event"] for line in lines]


def test_a_worker_shows_its_metrics_on_the_port_of_its_queue(settings: Settings) -> None:
    port = free_port()
    told = settings.model_copy(update={"metrics_port": port - 2})
    metrics.TRAINER_EXITS.labels("ok").inc()

    assert shown(told, "train") == ["metrics_shown"]

    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'tunesmith_trainer_exits_total{outcome="ok"}' in text


def test_a_second_worker_of_a_queue_works_without_showing_any(settings: Settings) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        told = settings.model_copy(update={"metrics_port": taken.getsockname()[1]})

        assert shown(told, "predict") == ["metrics_not_shown"]


def test_nothing_is_shown_unless_it_is_asked_for(settings: Settings) -> None:
    assert settings.metrics_port == 0
    assert shown(settings, "train") == []
