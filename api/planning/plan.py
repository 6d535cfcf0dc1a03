"""The plan of a training: what a job with this body would do, and what that would take."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any

from fastapi import Depends, Query, Response
from starlette.concurrency import run_in_threadpool

from api.auth import Caller
from api.negotiation import Prefer, preferred_wait_s
from api.planning.estimates import Workload, duration_of, memory_of
from api.planning.premises import Premises, Training, premises_of
from api.planning.probing import Probed, presized_since, probed, swept_phase
from api.planning.rates import course_of, sweeps_of
from api.planning.values import values_of
from api.schemas.plans import Estimate, Measured, NoEstimate, Plan
from api.schemas.resource import time_of
from api.services import Services
from jobs.job import JobType
from jobs.spec import FineTuneSpec, LrFindSpec

WAIT_S = 30.0
"""Seconds that an answer waits for its probe, unless Prefer says less."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """Whether a plan was asked for instead of the job, and how."""

    is_wanted: bool
    max_points: int
    wait_s: float


def get_dry_run(
    dry_run: Annotated[
        bool, Query(description="answer with a plan and its cost instead of queueing the job")
    ] = False,
    max_points: Annotated[
        int, Query(ge=3, le=10_000, description="of a dry run: steps listed of each phase, at most")
    ] = 200,
    prefer: Prefer = None,
) -> DryRun:
    """What the query string and `Prefer` say about a dry run."""
    says = "wait" in (prefer or "").lower()
    wait_s = preferred_wait_s(prefer, longest_s=WAIT_S) if says else WAIT_S
    return DryRun(is_wanted=dry_run, max_points=max_points, wait_s=wait_s)


DryRunDep = Annotated[DryRun, Depends(get_dry_run)]

PLAN_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"model": Plan, "description": "The plan of a dry run; nothing was queued."}
}


async def planned(
    services: Services,
    caller: Caller,
    dry_run: DryRun,
    *,
    checked: Callable[[], Training],
) -> Response:
    """What the job would do and take; nothing is left behind but a probe.

    ``checked`` is what the real request would queue; what it raises goes to the client.
    """
    spec = await run_in_threadpool(checked)
    premises = await run_in_threadpool(premises_of, services, spec)
    found = await probed(services, premises, owner=caller.owner, wait_s=dry_run.wait_s)
    answer = await run_in_threadpool(_plan, services, premises, found, dry_run.max_points)
    return Response(answer.model_dump_json(), media_type="application/json")


def _plan(
    services: Services, premises: Premises, found: Probed | NoEstimate, max_points: int
) -> Plan:
    course = course_of(premises, max_points)
    probe = found.job.result["probe"] if isinstance(found, Probed) else None
    estimate = None
    if isinstance(found, Probed):
        work = _workload(services, premises, found)
        estimate = _estimate(work, found, premises)
    return Plan(
        type=(JobType.FINE_TUNE if _trains(premises) else JobType.LR_FIND).value,
        resolved=values_of(premises, probe),
        phases=course.phases,
        schedule=course.schedule,
        estimate=estimate,
        no_estimate=found if isinstance(found, NoEstimate) else None,
        links=_links(premises, found),
    )


def _trains(premises: Premises) -> bool:
    return isinstance(premises.spec, FineTuneSpec)


def _workload(services: Services, premises: Premises, found: Probed) -> Workload:
    spec, counts = premises.spec, premises.counts or {}
    find = spec if isinstance(spec, LrFindSpec) else premises.child
    parts = ("train", "valid") if _trains(premises) else ("train",)
    known: Mapping[str, Any] = found.job.result["probe"]["presized"]
    later = presized_since(services.database, found.job, spec.presize)
    missing = [part for part in parts if not (known[part] or part in later)]
    return Workload(
        phases=course_of(premises, 3).phases,
        swept_phase="frozen" if find is None else swept_phase(find),
        to_presize=sum(counts.get(part, 0) for part in missing),
        to_evaluate=counts.get("valid", 0) if _trains(premises) else 0,
        batch_size=premises.batch_size,
        checkpoint_every_s=services.settings.checkpoint_s,
        accumulate=premises.accumulate,
        **_early_end(spec),
        sweeps=1 if find is None else len(sweeps_of(find, premises)),
    )


def _early_end(spec: Training) -> dict[str, Any]:
    """When a fine-tune may end before its last epoch."""
    if not isinstance(spec, FineTuneSpec):
        return {}
    early = spec.early_stopping
    return {
        "longest_s": spec.max_duration_s or inf,
        "fewest_epochs": None if early is None else early.patience + 1,
    }


def _estimate(work: Workload, found: Probed, premises: Premises) -> Estimate:
    job, probe, counts = found.job, found.job.result["probe"], premises.counts or {}
    duration = duration_of(work, probe) if probe["fits"] else None
    photos = counts.get("train", 0) + (counts.get("valid", 0) if _trains(premises) else 0)
    return Estimate(
        fits=probe["fits"],
        seconds=None if duration is None else duration.seconds,
        low=None if duration is None else duration.low,
        high=None if duration is None else duration.high,
        parts=[] if duration is None else duration.parts,
        memory=memory_of(probe, photos),
        measured=Measured(
            job_id=job.id,
            at=time_of(job.finished_ms or job.created_ms),
            device=probe["device_name"],
            is_reused=found.is_reused,
            steps={phase: pace["count"] for phase, pace in probe["steps"].items()},
        ),
    )


def _links(premises: Premises, found: Probed | NoEstimate) -> dict[str, str]:
    links = {} if premises.dataset is None else {"dataset": f"/v1/datasets/{premises.dataset.id}"}
    job_id = found.job.id if isinstance(found, Probed) else found.job_id
    return links if job_id is None else {**links, "probe": f"/v1/jobs/{job_id}"}
