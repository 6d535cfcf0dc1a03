"""Files of trained models: download."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from api.dependencies import ServicesDep
from api.file_answers import LED_AWAY, ConditionsDep, file_answer
from api.hang_up import unless_gone
from api.job_answers import in_progress
from api.model_files import onnx_file, own_file
from api.negotiation import preferred_wait_s
from api.problems import problem_responses
from api.references import ModelDep
from api.schemas.jobs import JobResource
from api.schemas.resource import BINARY
from jobs.job import Job

LONGEST_WAIT_S = 60.0

router = APIRouter(prefix="/v1/models/{model_id}", tags=["Models"])

PreferWait = Annotated[
    str | None, Header(description="wait=30 waits for an ONNX file that is yet to be written")
]


@router.get(
    "/download",
    operation_id="downloadModel",
    summary="Download a model",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {"schema": BINARY}}},
        202: {"description": "It is being written; Location is the job.", "model": JobResource},
        206: {"description": "The bytes that Range asks for."},
        304: {"description": "The file is still as in If-None-Match."},
        307: LED_AWAY,
        **problem_responses(
            "not_found",
            "result_not_ready",
            "range_not_satisfiable",
            "validation_failed",
            "internal",
            "no_workers",
        ),
    },
)
async def download_model(
    request: Request,
    services: ServicesDep,
    model: ModelDep,
    *,
    file_format: Annotated[
        Literal["safetensors", "onnx"], Query(alias="format", description="file format")
    ] = "safetensors",
    asked: ConditionsDep,
    prefer: PreferWait = None,
) -> Response:
    """The model as a safetensors or ONNX file; Range, If-Range and If-None-Match work.

    The first request for the ONNX file has it written, which takes some seconds: 202 with the job
    in Location, then 200. The graph takes pixels in [0, 1] and normalises them itself; its
    metadata have the classes and the preprocessing.
    """
    if file_format == "onnx":
        wait_s = preferred_wait_s(prefer, longest_s=LONGEST_WAIT_S)
        found = await unless_gone(request, onnx_file(services, model, wait_s))
        if isinstance(found, Job):
            return await run_in_threadpool(in_progress, services, found)
    else:
        found = await run_in_threadpool(own_file, services, model)
    name = f"{model.id}.{file_format}"
    return await run_in_threadpool(file_answer, services.artifacts, found, asked, name=name)
