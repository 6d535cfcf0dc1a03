"""The files that a job has left, and the checkpoints of one that has not ended."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import FileResponse

from api.dependencies import JobIdPath, ServicesDep
from api.file_answers import LED_AWAY, ConditionsDep, file_answer
from api.job_files import PARQUET, JobFile, file_of, files_of
from api.pagination import PageDep, paged, take
from api.problems import at, problem_responses
from api.schemas.job_files import (
    ArtifactList,
    ArtifactResource,
    CheckpointList,
    CheckpointResource,
)
from api.schemas.resource import BINARY
from api.services import Services
from jobs import store
from jobs.job import Job

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["Results"])

RECORD = {"type": "object", "description": "what the database knows of the job"}
"""The schema of `job.json`."""

_DIGITS = 18
_PROBLEMS = problem_responses("not_found", "validation_failed")


@router.get(
    "/artifacts",
    operation_id="listArtifacts",
    summary="List a job's files",
    response_model=ArtifactList,
    responses=_PROBLEMS,
)
def list_artifacts(
    request: Request, services: ServicesDep, job_id: JobIdPath, page: PageDep
) -> Response:
    """Ledgers and predictions as Parquet, the model, and the job's record; by name.

    Plots, exports and ONNX files are made when they are asked for and have paths of their own.
    """
    job = store.get(services.database, job_id)
    files = [file for file in files_of(services, job) if file.name > (page.after or "")]
    shown, has_more = take(files, page.limit)
    cursor = shown[-1].name if has_more else None
    data = [_resource(job, file) for file in shown]
    return paged(request, ArtifactList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/artifacts/{name}",
    operation_id="downloadArtifact",
    summary="Download one of a job's files",
    response_class=FileResponse,
    responses={
        200: {
            "content": {
                "application/json": {"schema": RECORD},
                "application/octet-stream": {"schema": BINARY},
                PARQUET: {"schema": BINARY},
            }
        },
        206: {"description": "The bytes that Range asks for."},
        304: {"description": "The file is still as in If-None-Match."},
        307: LED_AWAY,
        **problem_responses("not_found", "range_not_satisfiable", "validation_failed"),
    },
)
def download_artifact(
    services: ServicesDep,
    job_id: JobIdPath,
    name: Annotated[
        str, Path(max_length=100, examples=["samples-valid.parquet"], description="of the list")
    ],
    asked: ConditionsDep,
) -> Response:
    """The file; Range, If-Range and If-None-Match work, and Repr-Digest is its SHA-256."""
    job = store.get(services.database, job_id)
    file = file_of(services, job, name)
    return file_answer(
        services.artifacts,
        file.stored,
        asked,
        name=f"{job.id}-{file.name}",
        media_type=file.media_type,
    )


@router.get(
    "/checkpoints",
    operation_id="listCheckpoints",
    summary="List a job's checkpoints",
    response_model=CheckpointList,
    responses=_PROBLEMS,
)
def list_checkpoints(
    request: Request, services: ServicesDep, job_id: JobIdPath, page: PageDep
) -> Response:
    """Where a fine-tune would go on, newest first: two at most, and none once it has ended."""
    job = store.get(services.database, job_id)
    shown, has_more = take(_checkpoints(services, job, _step(page.after)), page.limit)
    cursor = str(shown[-1].step) if has_more else None
    listing = CheckpointList(data=shown, has_more=has_more, next_cursor=cursor)
    return paged(request, listing, cursor)


def _resource(job: Job, file: JobFile) -> ArtifactResource:
    return ArtifactResource(
        job_id=job.id,
        name=file.name,
        media_type=file.media_type,
        size_bytes=file.size_bytes,
        sha256=file.stored.digest,
        url=f"/v1/jobs/{job.id}/artifacts/{file.name}",
    )


def _checkpoints(services: Services, job: Job, before: int | None) -> list[CheckpointResource]:
    """Those whose files are there; with ``before`` those of fewer steps."""
    newest = (job.checkpoint, job.checkpoint_step)
    known = [newest, (job.earlier_checkpoint, job.earlier_checkpoint_step)]
    return [
        CheckpointResource(
            job_id=job.id, step=step, is_newest=(path, step) == newest, size_bytes=size_bytes
        )
        for path, step in known
        if path is not None
        and step is not None
        and (before is None or step < before)
        and (size_bytes := services.artifacts.store.size_bytes(services.artifacts.absolute(path)))
        is not None
    ]


def _step(after: str | None) -> int | None:
    if after is None:
        return None
    if not after.isdecimal() or len(after) > _DIGITS:
        detail = f"{after[:100]!r} is no cursor of this list, nor the step of a checkpoint"
        raise at("/query/after", "validation_failed", detail)
    return int(after)
