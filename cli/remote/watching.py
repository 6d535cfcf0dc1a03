"""A job watched to its end, and what came of it."""

import typer
from rich.console import Group, RenderableType

from cli import show
from cli.remote import tables
from cli.remote.exit_codes import ExitCode, exit_code_of_job
from cli.remote.progress import job_bars
from cli.remote.service import Service
from tunesmith_client import Client, Job

_PATIENCE_S = 600.0
"""A service that is moved or upgraded is back by then; whoever watches can end it by Ctrl-C."""


def watch_to_the_end(service: Service, job_id: str) -> None:
    """The job has ended and its outcome is shown; the command ends with the job's exit code.

    Raises:
        typer.Exit: it did not succeed, or whoever watched has had enough.
        UnreachableError: the service stayed away for ten minutes.
    """
    try:
        job = _watched(service, job_id)
    except KeyboardInterrupt:
        service.screen.note(
            f"\nno longer watching; the job runs on.\n"
            f"  tunesmith watch {job_id}    goes on watching\n"
            f"  tunesmith cancel {job_id}   ends the job"
        )
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    if not service.screen.as_json:
        service.screen.show(_outcome(service.client, job))
    code = exit_code_of_job(job)
    if code is not ExitCode.DONE:
        raise typer.Exit(int(code))


def _watched(service: Service, job_id: str) -> Job:
    screen, jobs = service.screen, service.client.jobs
    with job_bars(screen.err) as bars:
        for event in jobs.events(job_id, patience_s=_PATIENCE_S, on_break=bars.broken):
            if screen.as_json:
                screen.line(event.json_body())
            else:
                bars.take(event)
    return jobs.get(job_id)


def _outcome(client: Client, job: Job) -> RenderableType:
    if not job.has_succeeded:
        return tables.unfinished(job)
    if job.type == "lr_find":
        curve = client.results.lr_curve(job.id).json_body()
        return Group(show.suggestions_table(curve), show.recommendation_line(curve))
    if job.type == "dataset_import" and job.dataset_id is not None:
        return tables.dataset(client.datasets.get(job.dataset_id))
    return tables.outcome(job)


def tell_submitted(service: Service, job: Job, *, watch: bool) -> None:
    """The new job's id is on standard output, or the job is watched to its end."""
    service.screen.note(f"{job.type} {job.id} {job.state}")
    if watch:
        watch_to_the_end(service, job.id)
        return
    service.screen.answer(job.json_body(), job.id)
    service.screen.note(f"tunesmith watch {job.id}   shows how it goes")
