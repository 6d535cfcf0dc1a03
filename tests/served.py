"""The whole application behind a real port of this machine, without a Redis or a worker."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from structlog.testing import capture_logs

from api.app import create_app
from jobs.settings import Settings


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of a service with these settings."""
    started = threading.Event()

    class _Server(uvicorn.Server):
        async def startup(self, *arguments: object, **named: object) -> None:
            await super().startup(*arguments, **named)  # type: ignore[arg-type]  # handed on
            started.set()

    # a stream that a test has left open must not keep the server
    config = uvicorn.Config(
        create_app(settings), port=0, log_level="error", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run)
    # what it logs would be taken for what a command says
    with capture_logs():
        thread.start()
        try:
            assert started.wait(timeout=60), "the application did not start"
            (listener,) = server.servers
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
