"""Learning-rate finds: submit."""

from typing import Annotated

from fastapi import APIRouter, Body, Response
from starlette.concurrency import run_in_threadpool

from api.admission import checked_lr_find
from api.auth import CallerDep
from api.dependencies import ServicesDep
from api.idempotency import OnceDep
from api.job_answers import submit
from api.json_body import StrictRoute
from api.planning.plan import PLAN_RESPONSE, DryRunDep, planned
from api.problem_kinds import TRAINING_PROBLEMS
from api.problems import problem_responses
from api.schemas.jobs import JobResource
from api.schemas.resource import DatasetIdExample
from jobs.spec import LrFindSpec

router = APIRouter(prefix="/v1/lr-finds", tags=["Training"], route_class=StrictRoute)

_EXAMPLE = {
    "dataset": DatasetIdExample,
    "architecture": "resnet34",
    "weights": "DEFAULT",
    "presize": 460,
    "size": 224,
    "batch_size": 64,
    "start_lr": 1e-7,
    "end_lr": 10,
    "num_steps": 100,
    "sweep": "frozen_body",
    "seed": 42,
}


@router.post(
    "",
    operation_id="createLrFind",
    summary="Find a learning rate",
    status_code=202,
    response_model=JobResource,
    responses={**PLAN_RESPONSE, **problem_responses(*TRAINING_PROBLEMS)},
)
async def create_lr_find(
    services: ServicesDep,
    caller: CallerDep,
    spec: Annotated[LrFindSpec, Body(examples=[_EXAMPLE])],
    once: OnceDep,
    dry_run: DryRunDep,
) -> Response:
    """A range test: the rate rises from step to step until the loss diverges.

    The job's `lr-curve` then has the curve, what every rule reads from it, and a recommendation.
    """

    def checked() -> LrFindSpec:
        return checked_lr_find(services, caller, spec)

    if dry_run.is_wanted:
        return await planned(services, caller, dry_run, checked=checked)
    return await run_in_threadpool(submit, services, caller, once, checked=checked)
