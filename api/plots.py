"""Plots that workers draw: what is asked for, whether its files are there, who is drawing them."""

import hashlib
import json
from importlib.metadata import version

from starlette.concurrency import run_in_threadpool

from api import side_jobs
from api.deletion import delete_folder
from api.job_ledger import open_ledger
from api.problems import Problem, at
from api.services import Services
from jobs import curves, plots, store
from jobs.errors import NotFoundError, ResultNotReadyError
from jobs.job import QUEUE_OF, Job, JobState, JobType
from jobs.spec import ExportSpec, Plot

_QUEUE = QUEUE_OF[JobType.EXPORT]
_PRIORITY = 9


def plots_of(job: Job) -> tuple[Plot, ...]:
    """The plots that a job of this type has; whether they can be drawn yet is another question."""
    return plots.PLOTS_OF.get(job.type, ())


def wanted_plot(
    services: Services, job_id: str, name: str, file_format: str, split: str | None
) -> ExportSpec:
    """What has to be drawn; its content changes whenever the plot would look different.

    Raises:
        NotFoundError: no job has this id.
        ResultNotReadyError: there is nothing to draw yet.
        Problem: a job of this type has no such plot, or no such part.
    """
    job = store.get(services.database, job_id)
    names = plots_of(job)
    plot = next((known for known in names if known == name), None)
    if plot is None:
        has = ", ".join(names) or "no plots"
        raise Problem("not_found", f"job {job.id} is a {job.type}, which has {has}")
    if file_format not in plots.FORMATS:
        detail = f"{name} is drawn as {', '.join(plots.FORMATS)}, not as {file_format[:20]!r}"
        raise Problem("not_found", detail)
    part = _part(services, job, plot, split)
    facts = [version("tunesmith"), job.id, plot, part, job.event_seq, job.version]
    return ExportSpec(
        job=job.id,
        plot=plot,
        split=part,
        content=hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32],
        priority=_PRIORITY,
    )


def _part(services: Services, job: Job, plot: Plot, split: str | None) -> str | None:
    """The part of the dataset that the plot is about; None where it is about none."""
    if plot in plots.OF_A_PART:
        ledger = open_ledger(services, job.id, split)
        (rows,) = services.ledgers.select(ledger.file, "count(*) AS count", ledger.within)
        if not rows["count"]:
            detail = f"job {job.id} has no samples of the part {ledger.split!r}"
            raise Problem("not_found", detail)
        return ledger.split
    if split is not None:
        detail = f"{plot} is about no part; leave split out"
        raise at("/query/split", "validation_failed", detail)
    if not _has_curve(services, job, plot):
        raise ResultNotReadyError(job.id, plot, job.state)
    return None


def _has_curve(services: Services, job: Job, plot: Plot) -> bool:
    if plot in {"lr-curve", "presizing-preview"}:
        return job.state == JobState.SUCCEEDED
    return curves.count_points(services.database, job.id) > 0


async def drawn(services: Services, spec: ExportSpec, wait_s: float) -> ExportSpec | Job:
    """What is drawn, or the export job that has not ended when the time is over.

    Nothing is held while it waits. What is drawn can be newer than what was asked for.

    Raises:
        Problem: nobody can draw it, the drawing failed, or a newer one has replaced it.
    """
    job = await run_in_threadpool(_begin, services, spec)
    if job is None:
        return spec
    try:
        job = await side_jobs.ended(services, job, wait_s)
    except NotFoundError as deleted:
        raise replaced(spec) from deleted
    if not job.is_terminal:
        return job
    side_jobs.require_success(job, what="the drawing", fault="the plot could not be drawn")
    return ExportSpec.model_validate(job.spec)


def _begin(services: Services, spec: ExportSpec) -> Job | None:
    """The job that draws it, which replaces earlier ones of the same plot; None when it is drawn.

    Without a worker nothing is queued: the plot would be drawn when nobody wants it any more.
    """
    if plots.is_drawn(services.artifacts, spec):
        return None
    side_jobs.require_worker(services, _QUEUE, purpose=f"draw {spec.plot}")
    with services.database.write() as connection:
        job = plots.drawing_job(connection, services.artifacts, spec)
        replaced = plots.delete_older_exports(connection, spec) if job else []
    for job_id in replaced:
        delete_folder(services.artifacts, services.artifacts.job_folder(job_id))
    if job is not None and job.state == JobState.QUEUED:
        services.doorbell.ring(_QUEUE, job.id)
    return job


def replaced(spec: ExportSpec) -> Problem:
    """What was drawn is already gone, because the plot was drawn again."""
    detail = f"a newer {spec.plot} has just replaced this one; ask again"
    return Problem("unavailable", detail, headers={"Retry-After": "1"})
