"""What happened to a job: its history in pages, as a live stream, and its log."""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.dependencies import JobIdPath, ServicesDep
from api.job_log import ReadFrom, lines_of
from api.ledger_exports import check_whole
from api.live_events import EventStream
from api.negotiation import chosen_type
from api.pagination import Page, PageDep, paged, take
from api.problems import at, problem_responses
from api.schemas.events import EventList, EventResource, LogPage, StreamToken
from jobs import events, store, stream_tokens
from jobs.errors import ResultNotReadyError
from jobs.job import Job

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

_USUAL_LOG_BYTES = 1_048_576
_EXAMPLE = (
    "retry: 3000\n\n"
    "event: job.succeeded\n"
    'data: {"object":"event","job_id":"job_01jd2s4ah2f3kv8m6q0x5w9c7e","seq":27,…}\n'
    "id: 27\n\n"
)


class StreamOverError(Exception):
    """The stream was read to its end before; 204 tells EventSource to stop."""


@router.get(
    "/{job_id}/events",
    operation_id="listJobEvents",
    summary="Read a job's history",
    response_model=EventList,
    responses=problem_responses("not_found", "validation_failed"),
)
def list_events(
    request: Request, services: ServicesDep, job_id: JobIdPath, page: PageDep
) -> Response:
    """Everything that happened to the job, oldest first; `after` is a sequence number."""
    store.get(services.database, job_id)
    seq = _sequence_number(page.after or "0", "/query/after")
    found = events.read_after(services.database, job_id, seq, limit=page.limit + 1)
    shown, has_more = take(found, page.limit)
    cursor = str(shown[-1].seq) if has_more else None
    data = [EventResource.of(event) for event in shown]
    return paged(request, EventList(data=data, has_more=has_more, next_cursor=cursor), cursor)


async def stream_start(
    services: ServicesDep,
    job_id: JobIdPath,
    last_event_id: Annotated[
        str | None, Header(description="sequence number of the last event received")
    ] = None,
) -> tuple[Job, int]:
    """The job, and the sequence number that the stream begins behind.

    Raises:
        StreamOverError: nothing can follow it.
    """
    seq = _sequence_number(last_event_id or "0", "/header/last-event-id")
    job = await run_in_threadpool(store.get, services.database, job_id)
    if job.is_terminal and seq >= job.event_seq:
        raise StreamOverError
    return job, seq


@router.get(
    "/{job_id}/stream",
    operation_id="streamJobEvents",
    summary="Watch a job live",
    status_code=200,
    response_class=EventStream,
    responses={
        200: {"content": {EventStream.media_type: {"example": _EXAMPLE}}},
        204: {"description": "The stream was read to its end before."},
        **problem_responses("not_found", "validation_failed"),
    },
)
async def stream(
    services: ServicesDep,
    start: Annotated[tuple[Job, int], Depends(stream_start)],
    token: Annotated[
        str | None,
        Query(max_length=100, description="a stream token, in the place of an API key"),
    ] = None,
) -> EventStream:
    """Server-sent events: the history behind `Last-Event-ID`, then what happens, to the end.

    A page in a browser, whose `EventSource` can send no header, gets its `token` from
    `POST /v1/jobs/{id}/stream-tokens`.
    """
    return EventStream(services.live_events.watch(*start))


@router.post(
    "/{job_id}/stream-tokens",
    operation_id="createStreamToken",
    summary="Let a page watch a job",
    status_code=201,
    responses=problem_responses("not_found", "validation_failed"),
)
def create_stream_token(services: ServicesDep, job_id: JobIdPath) -> StreamToken:
    """A token that opens this one job's stream and nothing else, until ten minutes after its end.

    It is told once; `new EventSource(url)` with the answer's `url` needs nothing more.
    """
    token = stream_tokens.create(services.database, job_id)
    return StreamToken(
        token=token, job_id=job_id, url=f"/v1/jobs/{job_id}/stream?{urlencode({'token': token})}"
    )


@router.get(
    "/{job_id}/logs",
    operation_id="getJobLogs",
    summary="Read a job's log",
    response_model=LogPage,
    responses={
        200: {"content": {"text/plain": {"example": "epoch 0 of 3 …\n"}}},
        **problem_responses("not_found", "result_not_ready", "not_acceptable", "validation_failed"),
    },
)
def get_logs(
    request: Request,
    services: ServicesDep,
    job_id: JobIdPath,
    page: PageDep,
    max_bytes: Annotated[
        int | None,
        Query(
            ge=1,
            le=16_777_216,
            description="only the end of a longer log, usually 1 MiB; of text alone",
        ),
    ] = None,
) -> Response:
    """The log of the latest attempt as plain text; its lines with `Accept: application/json`."""
    media_type = chosen_type(request, ("text/plain", "application/json"))
    job = store.get(services.database, job_id)
    kept, file = services.artifacts.store, services.artifacts.log_file(job.id, job.fence)
    size_bytes = kept.size_bytes(file)
    if size_bytes is None:
        raise ResultNotReadyError(job.id, "log", job.state)

    def read(start: int) -> Iterator[bytes]:
        return kept.chunks(file, start, size_bytes)

    if media_type == "application/json":
        if max_bytes is not None:
            detail = "max_bytes is of text: send limit and after, or accept text/plain"
            raise at("/query/max_bytes", "validation_failed", detail)
        return _log_page(request, read, page)
    check_whole(request)
    end = b"".join(read(max(size_bytes - (max_bytes or _USUAL_LOG_BYTES), 0)))
    return Response(end, media_type="text/plain; charset=utf-8", headers={"Vary": "Accept"})


def _log_page(request: Request, read: ReadFrom, page: Page) -> Response:
    after = None if page.after is None else _whole_number(page.after, "/query/after", "a line")
    shown, has_more = take(lines_of(read, after, page.limit + 1), page.limit)
    cursor = str(shown[-1].offset) if has_more else None
    answer = paged(request, LogPage(data=shown, has_more=has_more, next_cursor=cursor), cursor)
    answer.headers["Vary"] = "Accept"
    return answer


def _sequence_number(text: str, pointer: str) -> int:
    return _whole_number(text, pointer, "an event")


def _whole_number(text: str, pointer: str, named: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        detail = f"{text[:100]!r} is not the number of {named}, such as 7"
        raise at(pointer, "validation_failed", detail)
    return int(text)
