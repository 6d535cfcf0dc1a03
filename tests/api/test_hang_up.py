"""A client that hangs up while it waits: nothing goes on for it, and the log has no error."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio
import pytest

from api.app import create_app
from api.sse import Bell
from jobs.database import Database
from jobs.job import JobState
from jobs.settings import Settings
from tests.jobs import given

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


def request_for(path: str) -> dict[str, Any]:
    """A GET whose client is ready to wait for a minute."""
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "GET", "scheme": "http", "path": path, "raw_path": path.encode(),
        "query_string": b"", "root_path": "", "client": ("127.0.0.1", 5), "server": None,
        "headers": [(b"host", b"127.0.0.1"), (b"prefer", b"wait=60")], "state": {},
    }  # fmt: skip


def test_a_job_is_waited_for_no_longer_when_its_client_hangs_up(
    settings: Settings,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    job = given.job_in(database, JobState.RUNNING)
    waits, ended = anyio.Event(), anyio.Event()

    async def wait(_: Bell, __: float) -> None:
        waits.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    monkeypatch.setattr(Bell, "wait", wait)
    asked = [{"type": "http.request", "body": b"", "more_body": False}]
    told: list[Message] = []

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await waits.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        told.append(message)

    async def ask() -> None:
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            # without the end of the wait this would take for ever
            await app(request_for(f"/v1/jobs/{job.id}"), receive, send)

    anyio.run(ask)

    assert ended.is_set()
    assert told[0]["status"] == 499
    logged = "".join(capfd.readouterr())
    assert "unexpected_error" not in logged
    assert "Traceback" not in logged
