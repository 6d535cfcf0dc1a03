"""The entry point of the API process: ``python -m api.main``."""

import socket
import sys
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from jobs import keys, tracing
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.logs import configure_logging
from jobs.settings import Settings, SettingsError, load_settings, traces_endpoint

SHUTDOWN_S = 5
_HEAD_BYTES = 64 * 1024

log = structlog.get_logger(__name__)


class NoUsableKeyError(Exception):
    """Requests need an API key, and there is none that works."""


_NO_START = (
    NoUsableKeyError,
    SettingsError,
    StoreUnavailableError,
    tracing.TracesUnavailableError,
)


class Server(uvicorn.Server):
    """Tells live streams to end as soon as the process is asked to."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """No new connection is taken, and streams end, so that clients come back elsewhere."""
        services = getattr(self._app.state, "services", None)
        if services is not None:
            services.feed.end()
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """The API answers on ``settings.host`` and port until the process is told to end.

    The database's schema is brought to the newest revision first.

    Raises:
        NoUsableKeyError: nobody could ask it anything.
        SettingsError: the object store of the artifacts can never be used.
    """
    _check_store(settings)
    database = Database(settings.database_url)
    database.migrate()
    closed = settings.needs_keys and not keys.usable_ids(database)
    database.close()
    if closed:
        raise NoUsableKeyError(
            "requests need an API key and there is no usable one; make the first with "
            "`tunesmith migrate`, or one with `tunesmith keys create NAME --scope admin`"
        )
    app = create_app(settings)
    listening = _bound(settings.host, settings.port)
    host, port = listening.getsockname()[:2]
    log.info("serving", url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    Server(app, config_of(app)).run(sockets=[listening])


def _check_store(settings: Settings) -> None:
    try:
        Artifacts.of(settings).store.check()
    except OSError as problem:
        # it may answer later
        log.warning("artifact_store_away", error=str(problem))


def config_of(app: FastAPI) -> uvicorn.Config:
    """How the app is served, wherever it listens."""
    return uvicorn.Config(
        app,
        # the other one takes in a head of any length, and joins an address piece by piece
        http="h11",
        h11_max_incomplete_event_size=_HEAD_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


def main() -> None:
    """The process serves with the environment's settings.

    Wrong settings, a database that does not answer and the lack of a key end it with a message.
    """
    try:
        settings = load_settings()
    except SettingsError as wrong:
        sys.exit(f"cannot start: {wrong}")
    configure_logging(settings.log_format, settings.log_level)
    try:
        tracing.begin("tunesmith-api", traces_endpoint())
        serve(settings)
    except _NO_START as problem:
        sys.exit(f"cannot start: {problem}")
    finally:
        tracing.end()


def _bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(socket.SOMAXCONN)
    return listening


if __name__ == "__main__":
    main()
