"""Plots of a job's results: which there are, where their files lie, who is drawing them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection, delete, select

from jobs import store, tables
from jobs.artifacts import Artifacts
from jobs.job import FINAL_STATES, QUEUE_OF, Job, JobState, JobType
from jobs.spec import ExportSpec, Plot

_UNFINISHED = [state for state in JobState if state not in FINAL_STATES | {JobState.CANCELLING}]

FORMATS = ("svg", "png", "json")

PLOTS_OF: Mapping[JobType, tuple[Plot, ...]] = {
    JobType.LR_FIND: ("lr-curve", "loss-curve", "lr-schedule"),
    JobType.FINE_TUNE: ("loss-curve", "lr-schedule", "confusion", "top-losses", "calibration"),
    JobType.EVALUATION: ("confusion", "top-losses", "calibration"),
    JobType.PRESIZING_PREVIEW: ("presizing-preview",),
}
"""Jobs of other types have no plots."""

OF_A_PART = frozenset({"confusion", "top-losses", "calibration"})
"""Plots of a ledger, which is about one part of the dataset."""


def plot_file(artifacts: Artifacts, spec: ExportSpec, file_format: str) -> Path:
    """Where the plot lies once it is drawn: with the job that it shows, deleted with it."""
    name = f"{_stem(spec)}-{spec.content}.{file_format}"
    return artifacts.job_folder(spec.job) / "plots" / name


def is_drawn(artifacts: Artifacts, spec: ExportSpec) -> bool:
    """Whether the plot is there in every format."""
    return all(
        artifacts.store.size_bytes(plot_file(artifacts, spec, each)) is not None for each in FORMATS
    )


def older_files(artifacts: Artifacts, spec: ExportSpec) -> list[Path]:
    """Files of the same plot with another content."""
    folder = artifacts.job_folder(spec.job) / "plots"
    wanted = {plot_file(artifacts, spec, file_format) for file_format in FORMATS}
    found = artifacts.store.found(folder, f"{_stem(spec)}-*")
    return [file for file in found if file not in wanted]


def _stem(spec: ExportSpec) -> str:
    return spec.plot if spec.split is None else f"{spec.plot}-{spec.split}"


def drawing_job(connection: Connection, artifacts: Artifacts, spec: ExportSpec) -> Job | None:
    """The unfinished export job of this plot, new where there was none; None when it is drawn.

    Of a job that is not finished any unfinished export of the same plot will do: what it draws is
    at least as new. Rivals wait for each other at the drawn job's row, so there is one export.

    Raises:
        NotFoundError: the job to draw does not exist.
    """
    shown = store.fetch(connection, spec.job, lock=True)
    if is_drawn(artifacts, spec):
        return None
    for job in _exports(connection, _UNFINISHED, spec):
        if not shown.is_terminal or job.spec["content"] == spec.content:
            return job
    return store.submit(connection, JobType.EXPORT, spec, dataset_id=None, owner=shown.owner)


def delete_older_exports(connection: Connection, spec: ExportSpec) -> list[str]:
    """Ids of the succeeded exports of the same plot, which are gone: its newest one is enough."""
    old = [job.id for job in _exports(connection, [JobState.SUCCEEDED], spec)]
    connection.execute(delete(tables.jobs).where(tables.jobs.c.id.in_(old)))
    return old


def _exports(connection: Connection, states: Sequence[JobState], spec: ExportSpec) -> list[Job]:
    columns = tables.jobs.c
    query = select(tables.jobs).where(
        columns.queue == QUEUE_OF[JobType.EXPORT],
        columns.state.in_([state.value for state in states]),
        columns.type == JobType.EXPORT.value,
        columns.spec["job"].as_string() == spec.job,
    )
    jobs = [store.as_job(row) for row in connection.execute(query.order_by(columns.id))]
    return [job for job in jobs if (job.spec["plot"], job.spec["split"]) == (spec.plot, spec.split)]
