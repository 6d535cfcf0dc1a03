"""Commands on jobs: list them, watch one, act on one."""

from typing import Annotated

import typer

from cli.command_error import CommandError
from cli.remote import tables
from cli.remote.given_fields import body
from cli.remote.options import Assignments, Limit, Watch
from cli.remote.service import Service, remote
from cli.remote.watching import tell_submitted, watch_to_the_end
from tunesmith_client import Job

JobId = Annotated[str, typer.Argument(metavar="JOB", help="id of the job, job_…")]


@remote
def jobs(  # noqa: PLR0913 - one for each filter
    service: Service,
    job_type: Annotated[
        str | None, typer.Option("--type", help="only this type, such as fine_tune")
    ] = None,
    state: Annotated[str | None, typer.Option(help="only in this state, such as running")] = None,
    dataset: Annotated[str | None, typer.Option(help="only on the dataset with this id")] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="only with this metadata; repeatable"),
    ] = None,
    created_after: Annotated[
        str | None, typer.Option(help="only younger ones, as in 2026-03-01T12:00:00Z")
    ] = None,
    limit: Limit = 20,
) -> None:
    """List jobs, newest first."""
    found = list(
        service.client.jobs.list(
            limit=limit,
            metadata=_pairs(metadata or []),
            type=job_type,
            state=state,
            dataset_id=dataset,
            created_after=created_after,
        )
    )
    service.screen.listing(found, tables.jobs(found))


@remote
def watch(service: Service, job_id: JobId) -> None:
    """Watch a job to its end; Ctrl-C ends the watching, not the job."""
    watch_to_the_end(service, job_id)


@remote
def cancel(service: Service, job_id: JobId) -> None:
    """End a job and discard what it learned."""
    _tell(service, service.client.jobs.cancel(job_id))


@remote
def stop(service: Service, job_id: JobId) -> None:
    """End a training after its current step; the model so far is evaluated and kept."""
    _tell(service, service.client.jobs.stop(job_id))


@remote
def pause(service: Service, job_id: JobId) -> None:
    """Let a training save a checkpoint and free its device."""
    _tell(service, service.client.jobs.pause(job_id))


@remote
def resume(service: Service, job_id: JobId) -> None:
    """Let a paused training go on from its checkpoint."""
    _tell(service, service.client.jobs.resume(job_id))


@remote
def retry(
    service: Service,
    job_id: JobId,
    dataset: Annotated[str | None, typer.Option(help="on the dataset with this id")] = None,
    assignments: Assignments = None,
    continue_epochs: Annotated[
        int | None, typer.Option(help="train the model of a fine-tune on for so many epochs")
    ] = None,
    watch: Watch = False,
) -> None:
    """Do a job that has ended again, as another job; --set changes fields of its request."""
    overrides = body(None, {}, assignments or (), {})
    job = service.client.jobs.retry(
        job_id, dataset=dataset, overrides=overrides or None, continue_epochs=continue_epochs
    )
    tell_submitted(service, job, watch=watch)


def _tell(service: Service, job: Job) -> None:
    service.screen.answer(job.json_body(), f"{job.id} {job.state}")


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise CommandError("--metadata takes KEY=VALUE, as in owner=ana")
    return {key: value for key, _, value in pairs}
