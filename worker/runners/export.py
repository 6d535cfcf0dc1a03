"""Draws a plot of another job's results, in every format."""

import shutil
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from jobs import curves, leases, plots, store
from jobs.artifacts import published
from jobs.errors import NotFoundError
from jobs.job import Job
from jobs.spec import ExportSpec
from ml.theory.calibration import expected_error
from worker.context import Context, Ending
from worker.failures import JobFailedError
from worker.plots import (
    calibration,
    confusion,
    loss_curve,
    lr_curve,
    lr_schedule,
    presizing_preview,
    rendering,
    top_losses,
)
from worker.plots.headings import heading_of
from worker.plots.ledger_rows import bins_of, ledger_table, matrix_of, worst_of
from worker.plots.loss_curve import Training
from worker.plots.preview_tiles import mean_line, preview_rows
from worker.plots.theme import Heading

MOST_STEPS = 2000
"""More points than these cannot be told apart; every so-many-th step and the last are drawn."""


def run(context: Context) -> Ending:
    """The files of the plot exist; those of its earlier contents are gone.

    Raises:
        JobFailedError: the job to draw, or its ledger, is no longer there.
    """
    spec = ExportSpec.model_validate(context.job.spec)
    context.tell(leases.enter_phase, "drawing")
    shown = _shown(context, spec)
    heading = heading_of(context.database, shown, spec)
    chart = _DRAW[spec.plot](context, shown, spec, heading)
    for file_format, content in rendering.render(chart).items():
        file = plots.plot_file(context.artifacts, spec, file_format)
        with published(file) as temporary:
            temporary.write_bytes(content)
        context.artifacts.store.keep([file])
    for file in plots.older_files(context.artifacts, spec):
        context.artifacts.remove(file)
    _leave_nothing_behind(context, spec)
    return Ending()


def _leave_nothing_behind(context: Context, spec: ExportSpec) -> None:
    """What was written after its job was deleted is gone, too."""
    try:
        _shown(context, spec)
    except JobFailedError:
        folder = context.artifacts.job_folder(spec.job)
        shutil.rmtree(folder, ignore_errors=True)
        context.artifacts.store.forget(folder)
        raise


def _shown(context: Context, spec: ExportSpec) -> Job:
    try:
        return store.get(context.database, spec.job)
    except NotFoundError as deleted:
        raise _gone(spec, "the job") from deleted


def _gone(spec: ExportSpec, what: str) -> JobFailedError:
    return JobFailedError("not_found", f"{what} of {spec.plot} of job {spec.job} was deleted")


def _lr_curve(_: Context, shown: Job, __: ExportSpec, heading: Heading) -> Any:  # noqa: ANN401
    return lr_curve.draw(shown.result["lr_curve"], heading)


def _points(context: Context, job_id: str) -> list[curves.CurvePoint]:
    count = curves.count_points(context.database, job_id)
    return curves.read_points(context.database, job_id, every=max(1, -(-count // MOST_STEPS)))


def _loss_curve(context: Context, shown: Job, _: ExportSpec, heading: Heading) -> Any:  # noqa: ANN401
    epochs = curves.read_epochs(context.database, shown.id)
    return loss_curve.draw(Training(_points(context, shown.id), epochs), heading)


def _lr_schedule(context: Context, shown: Job, _: ExportSpec, heading: Heading) -> Any:  # noqa: ANN401
    return lr_schedule.draw(_points(context, shown.id), heading)


def _confusion(context: Context, shown: Job, spec: ExportSpec, heading: Heading) -> Any:  # noqa: ANN401
    table = _ledger(context, shown, spec, ["label", "predicted"])
    matrix = matrix_of(table, shown.result["classes"])
    return confusion.draw(matrix, heading.and_line(_scope(spec, table, matrix)))


def _top_losses(context: Context, shown: Job, spec: ExportSpec, heading: Heading) -> Any:  # noqa: ANN401
    table = _ledger(context, shown, spec, ["item_id", "label", "predicted", "loss", "p_label"])
    worst = worst_of(table, context.artifacts, str(shown.dataset_id))
    line = (
        f"{_part(spec)}: the worst {len(worst)} of {table.num_rows} photos; "
        "label, → prediction, p = probability of the label"
    )
    return top_losses.draw(worst, heading.and_line(line))


def _calibration(context: Context, shown: Job, spec: ExportSpec, heading: Heading) -> Any:  # noqa: ANN401
    bins = bins_of(_ledger(context, shown, spec, ["p_predicted", "correct"]))
    line = f"{_part(spec)}: expected calibration error {expected_error(bins):.3f}"
    return calibration.draw(bins, heading.and_line(f"{line}{_temperature(shown, spec)}"))


def _temperature(shown: Job, spec: ExportSpec) -> str:
    """The temperature that the worker fitted; nothing of ledgers of earlier versions."""
    entries = shown.result["samples"]
    found = entries.get(spec.split, entries.get("all", {})).get("calibration", {}).get(spec.split)
    if not found or found["temperature"] is None:
        return ""
    return f" · best temperature {found['temperature']:.2f}"


def _presizing_preview(context: Context, shown: Job, spec: ExportSpec, heading: Heading) -> Any:  # noqa: ANN401
    compared = shown.result["presizing_preview"]
    folder = context.artifacts.absolute(shown.result["pictures"])
    context.artifacts.store.fetch(list(context.artifacts.store.found(folder, "*.png")))
    try:
        rows = preview_rows(folder, compared["images"])
    except FileNotFoundError as deleted:
        raise _gone(spec, "a picture") from deleted
    lines = (mean_line(compared["means"]), _PREVIEW_LEGEND)
    return presizing_preview.draw(rows, Heading(heading.title, (*heading.lines, *lines)))


def _ledger(context: Context, shown: Job, spec: ExportSpec, columns: list[str]) -> pa.Table:
    try:
        return ledger_table(context.artifacts, shown.result["samples"], spec.split, columns)
    except FileNotFoundError as deleted:
        raise _gone(spec, "the ledger") from deleted


def _scope(spec: ExportSpec, table: pa.Table, matrix: confusion.Matrix) -> str:
    right = int(matrix.counts.trace())
    return f"{_part(spec)}: {right} of {table.num_rows} photos right ({right / table.num_rows:.1%})"


def _part(spec: ExportSpec) -> str:
    return "all parts" if spec.split == "all" else f"{spec.split} part"


_PREVIEW_LEGEND = (
    "outlined: the region that is sampled (dashed: fastai's); below: the framed detail, "
    "on the left the original's"
)

_DRAW: Mapping[str, Callable[[Context, Job, ExportSpec, Heading], Any]] = {
    "lr-curve": _lr_curve,
    "loss-curve": _loss_curve,
    "lr-schedule": _lr_schedule,
    "confusion": _confusion,
    "top-losses": _top_losses,
    "calibration": _calibration,
    "presizing-preview": _presizing_preview,
}
