"""The process itself: health, readiness, version, and what problems mean."""

import platform
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import ServicesDep
from api.problems import KINDS, Problem, problem_responses
from api.schemas.queue import Health, ProblemType, Readiness, RedisStatus, Version
from jobs import presence

PACKAGE = "tunesmith"

router = APIRouter(tags=["System"])


@router.get("/healthz", operation_id="getHealth", summary="Is the process alive")
async def get_health() -> Health:
    """The process answers; nothing else is asked."""
    return Health()


@router.get(
    "/readyz",
    operation_id="getReadiness",
    summary="Can requests be served",
    responses=problem_responses(),
)
def get_readiness(services: ServicesDep) -> Readiness:
    """The database is there at the newest revision; Redis and workers are reported, not needed."""
    if not services.database.is_current():
        raise Problem("unavailable", "the database is not at the revision of this version")
    workers = presence.present(services.database)
    return Readiness(
        database={"is_reachable": True, "is_current": True},
        redis=RedisStatus(is_reachable=services.feed.is_connected),
        workers=len(workers),
        devices=sorted({worker.device for worker in workers if worker.queue == "train"}),
    )


@router.get("/version", operation_id="getVersion", summary="What is running")
async def get_version() -> Version:
    """The version of the service and of its Python."""
    return Version(
        name=PACKAGE, version=version(PACKAGE), api="v1", python=platform.python_version()
    )


@router.get(
    "/problems/{slug}",
    operation_id="getProblemType",
    summary="What a problem means",
    responses=problem_responses("not_found", "validation_failed"),
)
async def get_problem_type(
    slug: Annotated[str, Path(max_length=64, examples=["not_found"])],
) -> ProblemType:
    """The page that a problem's `type` leads to."""
    kind = KINDS.get(slug)
    if kind is None:
        raise Problem("not_found", f"no problem is called {slug!r}; there are {', '.join(KINDS)}")
    return ProblemType(
        type=f"/problems/{slug}",
        code=slug,
        title=kind.title,
        status=kind.status,
        remedy=kind.remedy,
    )
