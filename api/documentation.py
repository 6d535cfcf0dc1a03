"""The pages that show the OpenAPI document, from files of this installation only."""

from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from api.openapi_document import document_of

STATIC_URL = "/docs-static"
# nothing on these pages may come from anywhere else, whatever the bundled scripts would like
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; frame-ancestors 'none'"
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
    """The application serves /openapi.json, /docs and /redoc, without any other host."""
    folder = Path(fastapi_offline.__file__).parent / "static"
    app.mount(STATIC_URL, StaticFiles(directory=folder), name="docs-static")
    app.add_api_route("/docs", _swagger(app), include_in_schema=False)
    app.add_api_route("/redoc", _redoc(app), include_in_schema=False)
    app.openapi = lambda: document_of(app)  # type: ignore[method-assign]  # FastAPI's own way


def _swagger(app: FastAPI) -> Any:  # noqa: ANN401  (an endpoint)
    page = get_swagger_ui_html(
        openapi_url=app.openapi_url or "",
        title=f"{app.title}: the API",
        oauth2_redirect_url=None,
        swagger_js_url=f"{STATIC_URL}/swagger-ui-bundle.js",
        swagger_css_url=f"{STATIC_URL}/swagger-ui.css",
        swagger_favicon_url=f"{STATIC_URL}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None, "defaultModelsExpandDepth": 0},
    )
    return _endpoint(page)


def _redoc(app: FastAPI) -> Any:  # noqa: ANN401  (an endpoint)
    page = get_redoc_html(
        openapi_url=app.openapi_url or "",
        title=f"{app.title}: the API",
        redoc_js_url=f"{STATIC_URL}/redoc.standalone.js",
        redoc_favicon_url=f"{STATIC_URL}/favicon.png",
        with_google_fonts=False,
    )
    return _endpoint(page)


def _endpoint(page: HTMLResponse) -> Any:  # noqa: ANN401  (an endpoint)
    body = bytes(page.body)

    async def serve() -> HTMLResponse:
        return HTMLResponse(body, headers={"Content-Security-Policy": _POLICY})

    return serve
