"""Presizing previews: submit, read."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.auth import CallerDep
from api.dependencies import JobIdPath, ServicesDep
from api.idempotency import OnceDep
from api.job_answers import submit
from api.json_body import StrictRoute
from api.negotiation import IfNoneMatch, holds_newest
from api.preview_admission import checked_presizing_preview
from api.problem_kinds import DATASET_PROBLEMS
from api.problems import Problem, problem_responses
from api.schemas.jobs import JobResource
from api.schemas.presizing_previews import PresizingPreview
from api.schemas.resource import DatasetIdExample
from jobs import plots, store
from jobs.errors import ResultNotReadyError
from jobs.job import JobState, JobType
from jobs.spec import PresizingPreviewSpec

router = APIRouter(route_class=StrictRoute)

_EXAMPLE = {
    "dataset": DatasetIdExample,
    "presize": 460,
    "size": 224,
    "images": 3,
    "draws": {"rotate_deg": 30, "zoom": 1.2, "warp": [-0.2, 0.2]},
    "seed": 42,
}


@router.post(
    "/v1/presizing-previews",
    operation_id="createPresizingPreview",
    summary="Compare presizing with other ways",
    tags=["Training"],
    status_code=202,
    response_model=JobResource,
    responses=problem_responses(
        "malformed_json",
        "unsupported_media_type",
        "validation_failed",
        *DATASET_PROBLEMS,
        "dataset_not_ready",
        "idempotency_key_reused",
    ),
)
def create_presizing_preview(
    services: ServicesDep,
    caller: CallerDep,
    spec: Annotated[PresizingPreviewSpec, Body(examples=[_EXAMPLE])],
    once: OnceDep,
) -> Response:
    """Your own photos presized in one sampling, as fastai presizes, and changed step by step.

    All with the same draws. The job's `presizing-preview` then has how much detail each way keeps
    and how far its pixels are off; its plot shows the pictures beside each other.
    """
    return submit(
        services, caller, once, checked=lambda: checked_presizing_preview(services, caller, spec)
    )


@router.get(
    "/v1/jobs/{job_id}/presizing-preview",
    operation_id="getPresizingPreview",
    summary="See what presizing keeps",
    tags=["Results"],
    response_model=PresizingPreview,
    responses={
        304: {"description": "The preview is still as in If-None-Match."},
        **problem_responses("not_found", "result_not_ready", "validation_failed"),
    },
)
def get_presizing_preview(
    services: ServicesDep, job_id: JobIdPath, if_none_match: IfNoneMatch = None
) -> Response:
    """The numbers of each way, photo by photo and as means; `links` lead to the pictures."""
    job = store.get(services.database, job_id)
    if job.type != JobType.PRESIZING_PREVIEW:
        raise Problem("not_found", f"job {job.id} is a {job.type}, which has no presizing preview")
    if job.state != JobState.SUCCEEDED:
        raise ResultNotReadyError(job.id, "presizing preview", job.state)
    picture = f"/v1/jobs/{job.id}/plots/presizing-preview"
    body = PresizingPreview.model_validate(
        {
            **job.result["presizing_preview"],
            "job_id": job.id,
            "dataset_id": job.dataset_id,
            "links": {each: f"{picture}.{each}" for each in plots.FORMATS},
        }
    ).model_dump_json()
    headers = {"ETag": f'W/"{hashlib.sha256(body.encode()).hexdigest()[:32]}"'}
    if holds_newest(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
