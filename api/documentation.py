"""The pages for people: where one lands, and two that show the OpenAPI document.

All of it are files of this installation; nothing comes from anywhere else.
"""

from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from api.openapi_document import kept_document, kept_text

STATIC_URL, BUNDLES_URL = "/static", "/docs-static"
_PAGES = Path(__file__).parent / "static"
_OWN = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
LANDING_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    f"connect-src 'self'; {_OWN}"
)
# the bundled scripts write styles into the page
_DOCS_POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data: blob:; worker-src 'self' blob:; {_OWN}"
)

DESCRIPTION = """
Find a learning rate, fine-tune an image classifier, and see where every bit of loss comes from.

1. `POST /v1/datasets` registers photos: a folder, a rule that labels them, a rule that splits them.
2. `POST /v1/lr-finds` sweeps the learning rate; `GET /v1/jobs/{id}/lr-curve` says which to use.
3. `POST /v1/fine-tunes` trains with discriminative rates; `GET /v1/jobs/{id}/stream` shows it live.
4. `GET /v1/jobs/{id}/samples` lists the loss of every photo, worst first.

What takes time is a job: 202 with `Location`, then `GET /v1/jobs/{id}`. What goes wrong is a
problem (RFC 9457) with a `code`. `POST /v1/explain/…` tries each technique by itself.
"""

TAGS = [
    {"name": "Datasets", "description": "Photos with labels and parts."},
    {"name": "Training", "description": "Submit jobs."},
    {"name": "Jobs", "description": "Watch jobs and act on them."},
    {"name": "Results", "description": "Curves, ledgers, confusion."},
    {"name": "Models", "description": "What training leaves."},
    {"name": "Architectures", "description": "Networks that can be fine-tuned."},
    {"name": "Explain", "description": "Each technique by itself, answered at once."},
    {"name": "Webhooks", "description": "Addresses that are told what happens."},
    {"name": "API keys", "description": "Who may do what."},
    {"name": "System", "description": "The service itself."},
]


def add_documentation(app: FastAPI) -> None:
    """The application serves /, /docs, /redoc and /openapi.json."""
    bundles = Path(fastapi_offline.__file__).parent / "static"
    app.mount(STATIC_URL, StaticFiles(directory=_PAGES), name="static")
    app.mount(BUNDLES_URL, StaticFiles(directory=bundles), name="docs-static")
    for path, page, policy in (
        ("/", (_PAGES / "index.html").read_bytes(), LANDING_POLICY),
        ("/docs", (_PAGES / "docs.html").read_bytes(), _DOCS_POLICY),
        ("/redoc", (_PAGES / "redoc.html").read_bytes(), _DOCS_POLICY),
    ):
        app.add_api_route(path, _endpoint(page, policy), include_in_schema=False)
    app.add_api_route("/openapi.json", _serve_document, include_in_schema=False)
    app.openapi = kept_document  # type: ignore[method-assign]  # FastAPI's own way


async def _serve_document() -> Response:
    return Response(kept_text(), media_type="application/json")


def _endpoint(page: bytes, policy: str) -> Any:  # noqa: ANN401  (an endpoint)
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    async def serve() -> HTMLResponse:
        return HTMLResponse(page, headers=headers)

    return serve
