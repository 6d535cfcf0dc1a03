"""A server beside the stack's own API, to be measured with it; `benchmarks/api.py` starts it.

    python benchmarks/api_server.py --port 8001 --http httptools               the service
    python benchmarks/api_server.py --port 8002 --http h11 --same answers.json  a bare one

The bare one is a FastAPI with a route for each recorded answer that returns its bytes.
"""

import argparse
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Response

from api.app import create_app
from api.main import config_of
from jobs.logs import configure_logging
from jobs.settings import load_settings


def main() -> None:
    """The server answers until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--http", choices=["h11", "httptools"], required=True)
    parser.add_argument("--same", type=Path, help="answers of the service, recorded")
    asked = parser.parse_args()
    settings = load_settings()
    configure_logging(settings.log_format, settings.log_level)
    config = config_of(create_app(settings) if asked.same is None else _bare(asked.same))
    config.http, config.port = asked.http, asked.port
    uvicorn.Server(config).run()


def _bare(recorded: Path) -> FastAPI:
    app = FastAPI()
    for answer in json.loads(recorded.read_text()):
        returned = Response(answer["body"], answer["status"], media_type="application/json")
        endpoint = (_reading if answer["method"] == "GET" else _taking)(returned)
        app.add_api_route(answer["path"], endpoint, methods=[answer["method"]], response_model=None)
    return app


def _reading(returned: Response) -> Callable[[], Awaitable[Response]]:
    async def endpoint() -> Response:
        return returned

    return endpoint


def _taking(returned: Response) -> Callable[[dict[str, Any]], Awaitable[Response]]:
    async def endpoint(body: dict[str, Any]) -> Response:  # parsed as ours is
        return returned

    return endpoint


if __name__ == "__main__":
    main()
