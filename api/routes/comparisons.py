"""Jobs side by side, down to the photos that one got right and another wrong."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query

from api.auth import Caller, CallerDep
from api.comparison import (
    COMPARABLE,
    aligned_curves,
    asked_otherwise,
    compared_job,
    used_otherwise,
)
from api.dependencies import ServicesDep
from api.ledger_query import SplitQuery
from api.pagination import MAX_LIMIT
from api.problems import at, problem_responses
from api.references import References
from api.sample_comparison import common_part, compared_samples
from api.schemas.comparisons import Comparison
from api.schemas.resource import JobIdExample
from api.services import Services
from jobs.job import Job

FEWEST_JOBS, MOST_JOBS = 2, 10

router = APIRouter(prefix="/v1/jobs/compare", tags=["Results"])


@router.get(
    "",
    operation_id="compareJobs",
    summary="Compare jobs",
    responses=problem_responses("not_found", "validation_failed"),
)
def compare_jobs(
    services: ServicesDep,
    caller: CallerDep,
    ids: Annotated[
        str,
        Query(
            max_length=(MOST_JOBS + 1) * 64,
            description="ids of 2 to 10 finds, fine-tunes or evaluations with commas between; the "
            "first is what the others are compared with",
            examples=[f"{JobIdExample},job_01jd2s4ah2f3kv8m6q0x5w9c7f"],
        ),
    ],
    *,
    split: SplitQuery = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_LIMIT, description="photos in each list of samples")
    ] = 10,
    max_points: Annotated[
        int, Query(ge=2, le=10_000, description="steps of the curves, evenly spread")
    ] = 500,
) -> Comparison:
    """What was asked for otherwise, what came of it, and the photos that made the difference.

    Where other jobs differ from one by their seed alone, `seeds` says how much that alone changes.
    Photos are joined by their ids, so the jobs may be on different versions of a dataset.
    """
    jobs = _jobs(services, caller, ids)
    part = common_part(jobs, split)
    return Comparison(
        jobs=[compared_job(services, job, caller.listed_owner) for job in jobs],
        hyperparameters=asked_otherwise(jobs),
        resolved=used_otherwise(jobs),
        curves=aligned_curves(services, jobs, max_points),
        samples=None if part is None else compared_samples(services, jobs, part, limit),
        without_samples=_missing(jobs, split) if part is None else None,
    )


def _jobs(services: Services, caller: Caller, ids: str) -> list[Job]:
    named = [identifier.strip() for identifier in ids.split(",") if identifier.strip()]
    if not FEWEST_JOBS <= len(named) <= MOST_JOBS or len(set(named)) < len(named):
        detail = f"ids {ids[:100]!r} names {len(named)} jobs; name {FEWEST_JOBS} to {MOST_JOBS} "
        raise at("/query/ids", "validation_failed", f"{detail}different ones")
    references = References(services.database, caller)
    jobs = [references.job("/query/ids", identifier) for identifier in named]
    for job in jobs:
        if job.type not in COMPARABLE:
            detail = f"job {job.id} is a {job.type}; compare {', '.join(sorted(COMPARABLE))}"
            raise at("/query/ids", "validation_failed", detail)
    return jobs


def _missing(jobs: Sequence[Job], split: str | None) -> str:
    part = "one part" if split is None else f"the part {split!r}"
    return f"not all of {', '.join(job.id for job in jobs)} have a loss ledger of {part}"
