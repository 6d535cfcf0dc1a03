"""A job's results as pictures, drawn by a worker when they are first asked for."""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.dependencies import JobIdPath, ServicesDep
from api.hang_up import unless_gone
from api.job_answers import in_progress
from api.negotiation import IfNoneMatch, holds_newest, preferred_wait_s
from api.pagination import PageDep, paged, take_names
from api.plots import drawn, plots_of, replaced, wanted_plot
from api.problems import problem_responses
from api.schemas.jobs import JobResource
from api.schemas.plots import PlotList, PlotResource
from api.services import Services
from jobs import plots, store
from jobs.job import Job
from jobs.spec import ExportSpec

USUAL_WAIT_S, LONGEST_WAIT_S = 20.0, 60.0

MEDIA_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "json": "application/vnd.vegalite.v6+json",
}
# an SVG is a page to a browser: nothing in it may run or load, whatever a label says
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"

router = APIRouter(prefix="/v1/jobs/{job_id}/plots", tags=["Results"])

PlotName = Annotated[
    str,
    Path(
        max_length=64,
        description="lr-curve, loss-curve, lr-schedule, confusion, top-losses, calibration or "
        "presizing-preview",
        examples=["loss-curve"],
    ),
]
PlotFormat = Annotated[
    str, Path(max_length=64, description="svg, png or json (Vega-Lite)", examples=["svg"])
]
SplitQuery = Annotated[
    Literal["train", "valid", "test", "all"] | None,
    Query(description="which part; of confusion, top-losses and calibration only"),
]
PreferWait = Annotated[
    str | None,
    Header(description="wait=0 answers 202 at once when it is not drawn yet; 20 s are usual"),
]


@router.get(
    "",
    operation_id="listPlots",
    summary="List a job's plots",
    response_model=PlotList,
    responses=problem_responses("not_found", "validation_failed"),
)
def list_plots(
    request: Request, services: ServicesDep, job_id: JobIdPath, page: PageDep
) -> Response:
    """The plots of a job of this type, with the address of each format."""
    job = store.get(services.database, job_id)
    shown, cursor = take_names(plots_of(job), page)
    data = [PlotResource.of(job.id, name, plots.FORMATS) for name in shown]
    listing = PlotList(data=data, has_more=cursor is not None, next_cursor=cursor)
    return paged(request, listing, cursor)


@router.get(
    "/{name}.{file_format}",
    operation_id="getPlot",
    summary="See a result as a picture",
    response_class=Response,
    responses={
        200: {
            "description": "The plot; JSON is a whole Vega-Lite specification with its data.",
            "content": {
                "image/svg+xml": {"schema": {"type": "string"}},
                "image/png": {"schema": {"type": "string", "format": "binary"}},
                MEDIA_TYPES["json"]: {"schema": {"type": "object"}},
            },
        },
        202: {"description": "It is being drawn; Location is the job.", "model": JobResource},
        304: {"description": "The plot is still as in If-None-Match."},
        **problem_responses(
            "not_found", "result_not_ready", "validation_failed", "internal", "no_workers"
        ),
    },
)
async def get_plot(  # noqa: PLR0913  (path, query string and headers)
    request: Request,
    services: ServicesDep,
    job_id: JobIdPath,
    name: PlotName,
    file_format: PlotFormat,
    *,
    split: SplitQuery = None,
    if_none_match: IfNoneMatch = None,
    prefer: PreferWait = None,
) -> Response:
    """A curve, a schedule, a confusion matrix, the worst photos, or how sure the model is.

    The first request has it drawn, which takes a second or two; then it is served from a file. The
    loss curve and the schedule of a running job are drawn anew when it has moved on.
    """
    spec = await run_in_threadpool(wanted_plot, services, job_id, name, file_format, split)
    if holds_newest(if_none_match, _etag(spec)):
        return Response(status_code=304, headers=_freshness(spec))
    found = await unless_gone(request, drawn(services, spec, _wait_s(prefer)))
    return await run_in_threadpool(_answer, services, found, file_format)


def _wait_s(prefer: str | None) -> float:
    return USUAL_WAIT_S if prefer is None else preferred_wait_s(prefer, longest_s=LONGEST_WAIT_S)


def _answer(services: Services, found: ExportSpec | Job, file_format: str) -> Response:
    if isinstance(found, Job):
        return in_progress(services, found)
    try:
        file = plots.plot_file(services.artifacts, found, file_format)
        content = services.artifacts.fetched(file).read_bytes()
    except FileNotFoundError as deleted:
        raise replaced(found) from deleted
    headers = {
        **_freshness(found),
        "Content-Disposition": f'inline; filename="{found.job}-{found.plot}.{file_format}"',
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
    }
    return Response(content, media_type=MEDIA_TYPES[file_format], headers=headers)


def _freshness(spec: ExportSpec) -> dict[str, str]:
    return {"ETag": _etag(spec), "Cache-Control": "private, no-cache"}


def _etag(spec: ExportSpec) -> str:
    return f'W/"{spec.content}"'
