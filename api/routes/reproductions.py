"""How a finished job is done again: as a request, or as a script."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from api.dependencies import JobIdPath, ServicesDep
from api.negotiation import chosen_type
from api.problems import problem_responses
from api.reproduction import reproduction
from api.reproduction_script import script
from api.schemas.reproductions import Reproduction
from jobs import store

SCRIPT_TYPE = "text/x-python"

router = APIRouter(prefix="/v1/jobs/{job_id}/reproduce", tags=["Results"])

Format = Annotated[
    Literal["json", "script"] | None,
    Query(alias="format", description="left out: as Accept says, else json"),
]


@router.get(
    "",
    operation_id="reproduceJob",
    summary="Do a job again, elsewhere too",
    response_model=Reproduction,
    responses={
        200: {"content": {SCRIPT_TYPE: {"schema": {"type": "string"}}}},
        **problem_responses("not_found", "not_acceptable", "result_not_ready", "validation_failed"),
    },
)
def reproduce_job(
    request: Request, services: ServicesDep, job_id: JobIdPath, file_format: Format = None
) -> Response:
    """The request that trains to the same losses, with the facts that decide its bits.

    As a script: plain torchvision that loads the model's safetensors file and repeats the
    evaluation of its photos, without this service.
    """
    job = store.get(services.database, job_id)
    wanted = {"json": "application/json", "script": SCRIPT_TYPE}
    media_type = (
        chosen_type(request, tuple(wanted.values())) if file_format is None else wanted[file_format]
    )
    if media_type == SCRIPT_TYPE:
        name = f'attachment; filename="evaluate-{job.id}.py"'
        headers = {"Content-Disposition": name, "Vary": "Accept"}
        return Response(script(services, job), media_type=SCRIPT_TYPE, headers=headers)
    found = reproduction(services, job, str(request.base_url))
    return Response(
        found.model_dump_json(), media_type="application/json", headers={"Vary": "Accept"}
    )
