"""Fine-tunes: submit."""

from typing import Annotated

from fastapi import APIRouter, Body, Response
from starlette.concurrency import run_in_threadpool

from api.admission import checked_fine_tune
from api.auth import CallerDep
from api.dependencies import ServicesDep
from api.idempotency import OnceDep
from api.job_answers import submit
from api.json_body import StrictRoute
from api.planning.plan import PLAN_RESPONSE, DryRunDep, planned
from api.problem_kinds import TRAINING_PROBLEMS
from api.problems import problem_responses
from api.schemas.jobs import JobResource
from api.schemas.resource import DatasetIdExample, JobIdExample
from jobs.spec import FineTuneSpec

router = APIRouter(prefix="/v1/fine-tunes", tags=["Training"], route_class=StrictRoute)

_EXAMPLE = {
    "dataset": DatasetIdExample,
    "architecture": "resnet34",
    "weights": "DEFAULT",
    "presize": 460,
    "size": 224,
    "batch_size": 64,
    "epochs": 6,
    "freeze_epochs": 3,
    "learning_rate": {"from_job": JobIdExample, "rule": "recommended"},
    "discriminative": {"lr_mult": 100},
    "schedule": {"pct_start": 0.3, "div": 5.0},
    "seed": 42,
    "metadata": {"owner": "ana"},
}


@router.post(
    "",
    operation_id="createFineTune",
    summary="Fine-tune a network",
    status_code=202,
    response_model=JobResource,
    responses={**PLAN_RESPONSE, **problem_responses(*TRAINING_PROBLEMS)},
)
async def create_fine_tune(
    services: ServicesDep,
    caller: CallerDep,
    spec: Annotated[FineTuneSpec, Body(examples=[_EXAMPLE])],
    once: OnceDep,
    dry_run: DryRunDep,
) -> Response:
    """Trains a new head with the body frozen, then everything with discriminative rates.

    The job's results are a model, its loss curve, and a ledger with the loss of every photo.
    """

    def checked() -> FineTuneSpec:
        return checked_fine_tune(services, caller, spec)

    if dry_run.is_wanted:
        return await planned(services, caller, dry_run, checked=checked)
    return await run_in_threadpool(submit, services, caller, once, checked=checked)
