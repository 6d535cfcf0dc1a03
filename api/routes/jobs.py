"""Jobs: list, read, edit, delete, act on, watch."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.auth import CallerDep
from api.deletion import delete_folder
from api.dependencies import JobIdPath, ServicesDep
from api.hang_up import unless_gone
from api.idempotency import Once, OnceDep
from api.job_answers import answer_of, etag_of, job_resource, job_resources, read_job
from api.json_body import StrictRoute
from api.negotiation import (
    IfMatch,
    IfNoneMatch,
    Prefer,
    expected_version,
    holds_newest,
    preferred_wait_s,
    stale,
)
from api.pagination import PageDep, paged, take
from api.problems import at, problem_responses
from api.schemas.jobs import JobEdit, JobList, JobResource
from api.schemas.resource import DATED
from api.services import Services
from jobs import store, verbs
from jobs.database import Database
from jobs.job import QUEUE_OF, Job, JobState, JobType

LONGEST_WAIT_S = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_METADATA_PARAMETER: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "style": "deepObject",
    "explode": True,
    "required": False,
    "description": "only jobs with these keys and values, as in `metadata[owner]=ana`",
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "example": {"owner": "ana"},
}
_METADATA_KEY = re.compile(r"metadata\[(.{1,64})\]", re.DOTALL)

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"], route_class=StrictRoute)


@router.get(
    "",
    operation_id="listJobs",
    summary="List jobs",
    response_model=JobList,
    openapi_extra={"parameters": [_METADATA_PARAMETER]},
    responses=problem_responses("validation_failed"),
)
def list_jobs(  # noqa: PLR0913  (one parameter for each filter of the query string)
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    page: PageDep,
    *,
    job_type: Annotated[JobType | None, Query(alias="type", description="only this type")] = None,
    state: Annotated[JobState | None, Query(description="only in this state")] = None,
    dataset_id: Annotated[str | None, Query(max_length=64, description="only of this one")] = None,
    retry_of: Annotated[
        str | None, Query(max_length=64, description="only retries of this job")
    ] = None,
    created_after: Annotated[
        Annotated[datetime, DATED] | None, Query(description="only younger ones; RFC 3339")
    ] = None,
    sort: Annotated[
        Literal["created_at", "-created_at"], Query(description="oldest or newest first")
    ] = "-created_at",
) -> Response:
    """All jobs of the caller's owner, newest first.

    `metadata[owner]=ana` shows only jobs with that key and value.
    """
    chosen = store.JobFilter(
        type=job_type,
        state=state,
        dataset_id=dataset_id,
        retry_of=retry_of,
        created_after_ms=None if created_after is None else _unix_ms(created_after),
        metadata=_metadata_filter(request),
        owner=caller.listed_owner,
    )
    found = store.list_jobs(
        services.database,
        chosen,
        after=page.after_id("job"),
        limit=page.limit + 1,
        ascending=sort == "created_at",
    )
    jobs, has_more = take(found, page.limit)
    cursor = jobs[-1].id if has_more else None
    listing = JobList(
        data=job_resources(services, jobs),
        has_more=has_more,
        next_cursor=cursor,
    )
    return paged(request, listing, cursor)


@router.get(
    "/{job_id}",
    operation_id="getJob",
    summary="Read a job",
    response_model=JobResource,
    responses={
        304: {"description": "The job is still as in If-None-Match."},
        **problem_responses("not_found", "validation_failed"),
    },
)
async def get_job(
    request: Request,
    services: ServicesDep,
    job_id: JobIdPath,
    *,
    if_none_match: IfNoneMatch = None,
    prefer: Prefer = None,
) -> Response:
    """The job as it is now; with `Prefer: wait=30` as soon as its state changes, or after 30 s."""
    wait_s = preferred_wait_s(prefer, longest_s=LONGEST_WAIT_S)
    if wait_s > 0:
        known = await run_in_threadpool(store.get, services.database, job_id)
        await unless_gone(request, services.feed.until_changed(known, wait_s))
    job, resource = await run_in_threadpool(read_job, services, job_id)
    etag = etag_of(resource, job.event_seq)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if wait_s > 0:
        headers["Preference-Applied"] = f"wait={wait_s:g}"
    if holds_newest(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(resource.model_dump_json(), media_type="application/json", headers=headers)


@router.patch(
    "/{job_id}",
    operation_id="editJob",
    summary="Rename or re-prioritise a job",
    responses=problem_responses("not_found", "precondition_failed", "validation_failed"),
)
def edit_job(
    services: ServicesDep,
    job_id: JobIdPath,
    edit: Annotated[JobEdit, Body(examples=[{"name": "first try", "priority": 7}])],
    if_match: IfMatch = None,
) -> JobResource:
    """Changes name, metadata or priority; what is absent stays. Progress is no edit."""
    changes = _changes(edit)
    version = expected_version(if_match)
    edited = store.edit(services.database, job_id, changes, expected_version=version)
    if edited is None:
        raise stale(f"job {job_id} has another version than v{version}; read it again")
    return job_resource(services, edited)


@router.delete(
    "/{job_id}",
    operation_id="deleteJob",
    summary="Delete a finished job",
    status_code=204,
    responses=problem_responses("not_found", "invalid_state_transition", "validation_failed"),
)
def delete_job(services: ServicesDep, job_id: JobIdPath) -> None:
    """Removes the job, its history, its curves and its ledger. Its model stays."""
    job = store.delete_job(services.database, job_id)
    delete_folder(services.artifacts, services.artifacts.job_folder(job.id))


Verb = Callable[[Database, str], Job]
_VERB_PROBLEMS = problem_responses(
    "not_found", "invalid_state_transition", "idempotency_key_reused"
)


@router.post(
    "/{job_id}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    response_model=JobResource,
    responses=_VERB_PROBLEMS,
)
def cancel_job(services: ServicesDep, job_id: JobIdPath, once: OnceDep) -> Response:
    """Ends the job and discards what it learned. Cancelling twice changes nothing."""
    return _act(services, once, verbs.cancel, job_id)


@router.post(
    "/{job_id}/stop",
    operation_id="stopJob",
    summary="Stop a job early",
    response_model=JobResource,
    responses=_VERB_PROBLEMS,
)
def stop_job(services: ServicesDep, job_id: JobIdPath, once: OnceDep) -> Response:
    """Ends training after the current step; the model so far is evaluated and kept."""
    return _act(services, once, verbs.stop, job_id)


@router.post(
    "/{job_id}/pause",
    operation_id="pauseJob",
    summary="Pause a job",
    response_model=JobResource,
    responses=_VERB_PROBLEMS,
)
def pause_job(services: ServicesDep, job_id: JobIdPath, once: OnceDep) -> Response:
    """Saves a checkpoint and frees the device. Pausing twice changes nothing."""
    return _act(services, once, verbs.pause, job_id)


@router.post(
    "/{job_id}/resume",
    operation_id="resumeJob",
    summary="Resume a paused job",
    response_model=JobResource,
    responses=_VERB_PROBLEMS,
)
def resume_job(services: ServicesDep, job_id: JobIdPath, once: OnceDep) -> Response:
    """Queues the job again; it goes on from its checkpoint."""
    return _act(services, once, verbs.resume, job_id)


def _act(services: Services, once: Once, verb: Verb, job_id: str) -> Response:
    replay = once.replayed()
    if replay is not None:
        return replay
    job = verb(services.database, job_id)
    services.doorbell.happened(job.id)
    if job.state == JobState.QUEUED:
        services.doorbell.ring(QUEUE_OF[job.type], job.id)
    return once.remember(answer_of(services, job))


def _changes(edit: JobEdit) -> dict[str, Any]:
    changes = edit.model_dump(include=edit.model_fields_set)
    for name in ("metadata", "priority"):
        if name in changes and changes[name] is None:
            raise at(f"/{name}", "validation_failed", f"{name} cannot be null; leave it out")
    if not changes:
        raise at("", "validation_failed", "nothing to change; send name, metadata or priority")
    return changes


def _unix_ms(moment: datetime) -> int:
    """Milliseconds since 1970; a time without an offset is in UTC."""
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(milliseconds=1)


def _metadata_filter(request: Request) -> dict[str, str] | None:
    pairs = {
        found[1]: value
        for name, value in request.query_params.items()
        if (found := _METADATA_KEY.fullmatch(name))
    }
    return pairs or None
