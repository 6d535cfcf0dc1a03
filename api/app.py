"""The application: routers, error handlers, and what lives as long as the process."""

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from inspect import signature
from types import ModuleType
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.routing import BaseRoute

from api.auth import Guard
from api.documentation import DESCRIPTION, TAGS, add_documentation
from api.envelope import LOOPBACK_NAMES, MAX_BODY_BYTES, Envelope
from api.etags import Etags
from api.gate import Gate, LastUses
from api.hang_up import ClientGoneError
from api.json_body import NOWHERE
from api.last_net import LastNet
from api.methods import HeadAsGet, allowed_methods
from api.problems import (
    CODE_OF,
    Problem,
    from_disk,
    from_domain,
    response_of,
)
from api.query_string import refuse_unknown
from api.rate_limits import Limiter, RateLimits
from api.routes import (
    api_keys,
    architectures,
    comparisons,
    dataset_items,
    dataset_versions,
    datasets,
    evaluations,
    explain,
    fine_tunes,
    history,
    job_files,
    jobs,
    limits,
    lr_finds,
    metrics,
    model_files,
    models,
    plots,
    predict,
    predictions,
    presizing_previews,
    queue,
    reproductions,
    results,
    retries,
    samples,
    system,
    uploads,
    webhooks,
)
from api.services import opened
from api.validation import validation_problem
from jobs.keys import Scope
from jobs.settings import Settings

_WORTH_PACKING_BYTES = 1000
_PACKED_ALREADY = (*DEFAULT_EXCLUDED_CONTENT_TYPES, "application/octet-stream")
_SHOWN_TO_PAGES = (
    *("Content-Disposition", "Deprecation", "ETag", "Idempotency-Replayed", "Link", "Location"),
    *("Preference-Applied", "RateLimit", "RateLimit-Policy", "Repr-Digest", "Retry-After"),
    *("Sunset", "X-Request-Id"),
)
"""Headers that a page of another origin may read."""

_KEYS = Guard(reading=Scope.ADMIN, writing=Scope.ADMIN)
_DATASETS = Guard(writing=Scope.DATASETS_WRITE)
_JOBS = Guard(writing=Scope.JOBS_WRITE)
_QUESTIONS = Guard(writing=Scope.READ)

GUARD_OF: Mapping[ModuleType, Guard] = {
    datasets: _DATASETS,
    dataset_items: _DATASETS,
    dataset_versions: _DATASETS,
    uploads: _DATASETS,
    lr_finds: _JOBS,
    fine_tunes: _JOBS,
    evaluations: _JOBS,
    presizing_previews: _JOBS,
    # before jobs, to which it would be the id of one
    comparisons: _JOBS,
    jobs: _JOBS,
    retries: _JOBS,
    history: _QUESTIONS,
    results: _JOBS,
    job_files: _JOBS,
    samples: _JOBS,
    plots: _JOBS,
    reproductions: _JOBS,
    models: _JOBS,
    model_files: _JOBS,
    predict: _JOBS,
    predictions: _JOBS,
    architectures: _QUESTIONS,
    explain: _QUESTIONS,
    queue: _QUESTIONS,
    limits: _QUESTIONS,
    webhooks: _JOBS,
    api_keys: _KEYS,
    metrics: _KEYS,
}
"""What each router asks of a caller; without an entry here it is not served."""


def create_app(settings: Settings) -> FastAPI:
    """The application with these settings; it opens nothing before its lifespan begins."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limiter = Limiter(per_minute=settings.rate_limit, redis_url=settings.redis_url)
        async with opened(settings) as services, limiter:
            app.state.services, app.state.limiter = services, limiter
            with LastUses(services.database) as app.state.last_uses:
                yield

    app = FastAPI(
        title="Tunesmith",
        version=version(system.PACKAGE),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.router.routes += _served()
    add_documentation(app)
    _add_handlers(app)
    _add_middleware(app, settings)
    return app


@functools.cache
def _served() -> tuple[BaseRoute, ...]:
    """All routes, once for all applications: what a route asks for is read at its first request."""
    router = APIRouter()
    for module, guard in GUARD_OF.items():
        router.include_router(module.router, dependencies=[Depends(guard), Depends(refuse_unknown)])
    router.include_router(system.router)
    return tuple(router.routes)


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """What surrounds the routes; the last one added is the first to see a request."""
    app.add_middleware(Etags)
    if settings.rate_limit:
        app.add_middleware(RateLimits)
    app.add_middleware(Gate, needs_keys=settings.needs_keys)
    app.add_middleware(
        GZipMiddleware, minimum_size=_WORTH_PACKING_BYTES, exclude_content_types=_PACKED_ALREADY
    )
    app.add_middleware(LastNet)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=_SHOWN_TO_PAGES,
        )
    app.add_middleware(HeadAsGet)
    app.add_middleware(
        Envelope,
        hosts=LOOPBACK_NAMES | settings.host_names,
        origins=settings.cors_origins,
    )


def _add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(Problem, _handler(lambda _, error: error))
    app.add_exception_handler(RequestValidationError, _handler(_invalid))
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(history.StreamOverError, _no_content)
    app.add_exception_handler(ClientGoneError, _nobody)
    app.add_exception_handler(OSError, _handler(lambda _, error: from_disk(error)))
    for kind in CODE_OF:
        app.add_exception_handler(kind, _handler(lambda _, error: from_domain(error)))


def _handler(
    problem_of: Callable[[Request, Any], Any],
) -> Callable[[Request, Exception], Any]:
    async def handle(request: Request, error: Exception) -> Response:
        return response_of(
            problem_of(request, error),
            instance=request.url.path,
            request_id=request.state.request_id,
        )

    return handle


async def _refuse(request: Request, error: Exception) -> Response:
    """A problem, but for OPTIONS: what could be done instead is the answer to that."""
    if request.method == "OPTIONS" and (methods := allowed_methods(request)):
        return Response(status_code=204, headers={"Allow": methods})
    response: Response = await _handler(_refused)(request, error)
    return response


async def _nobody(_: Request, __: Exception) -> Response:
    """For the log alone, which calls it as web servers do."""
    return Response(status_code=499)


async def _no_content(_: Request, __: Exception) -> Response:
    return Response(status_code=204)


def _invalid(request: Request, error: RequestValidationError) -> Problem:
    errors = error.errors()
    if errors[0]["type"] == "json_invalid":
        reason = errors[0].get("ctx", {}).get("error", "")
        place = errors[0]["loc"][-1]
        where = "" if place == NOWHERE else f" at character {place}"
        return Problem("malformed_json", f"the body is no JSON: {reason}{where}")
    if isinstance(error.body, bytes) and error.body:
        sent = request.headers.get("content-type", "")[:100]
        return Problem("unsupported_media_type", f"Content-Type is {sent!r}; send application/json")
    return validation_problem(errors, error.body, _body_model(request))


def _body_model(request: Request) -> type[BaseModel] | None:
    """The model of the route's body, to name its fields."""
    for parameter in signature(request.scope["endpoint"]).parameters.values():
        origin = getattr(parameter.annotation, "__origin__", parameter.annotation)
        if isinstance(origin, type) and issubclass(origin, BaseModel):
            return origin
    return None


_CODE_OF_STATUS = {
    400: "malformed_json",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    416: "range_not_satisfiable",
}


def _refused(request: Request, error: HTTPException) -> Problem:
    code = _CODE_OF_STATUS[error.status_code]
    details = {
        "malformed_json": "the body is no JSON in UTF-8",
        "not_found": f"there is nothing at {request.url.path[:200]!r}; see /docs",
        "method_not_allowed": f"{request.method} is not possible at {request.url.path[:200]!r}",
        "payload_too_large": f"the body is larger than {MAX_BODY_BYTES} bytes",
        "range_not_satisfiable": "the Range lies outside the file",
    }
    headers = dict(error.headers or {})
    if code == "method_not_allowed":
        headers["Allow"] = allowed_methods(request)
    return Problem(code, details[code], headers=headers)
