"""Commands on what jobs leave: rows of the loss ledger, plots, files."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from cli.command_error import CommandError
from cli.remote import tables
from cli.remote.jobs import JobId
from cli.remote.options import Limit, Output
from cli.remote.service import Service, remote
from cli.remote.transfers import advancing
from tunesmith_client.downloads import Advance

FileFormat = Literal["safetensors", "onnx", "csv", "ndjson", "parquet", "script"]

Split = Annotated[
    str | None, typer.Option(help="train, valid, test or all; absent: the only one there is")
]


@remote
def samples(  # noqa: PLR0913 - one for each filter
    service: Service,
    job_id: JobId,
    worst: Limit = 20,
    sort: Annotated[str, typer.Option(help="a column; with - the largest first")] = "-loss",
    split: Split = None,
    label: Annotated[str | None, typer.Option(help="only of this class")] = None,
    predicted: Annotated[str | None, typer.Option(help="only taken for this class")] = None,
    correct: Annotated[
        bool | None, typer.Option("--correct/--wrong", help="only right or only wrong ones")
    ] = None,
    suspect: Annotated[
        bool, typer.Option("--suspect", help="only labels that may be wrong")
    ] = False,
) -> None:
    """Show the photos with the largest losses of a fine-tune or an evaluation."""
    query = {
        "sort": sort,
        "split": split,
        "label": label,
        "predicted": predicted,
        "correct": correct,
        "is_label_issue": suspect or None,
    }
    found = list(service.client.results.samples(job_id, limit=worst, **query))
    service.screen.listing(found, tables.samples(found))


@remote
def plot(
    service: Service,
    job_id: JobId,
    name: Annotated[
        str | None, typer.Argument(help="such as loss-curve; absent: lists what there is")
    ] = None,
    output: Output = None,
    split: Split = None,
) -> None:
    """Save a plot of a job as .svg, .png or .json (Vega-Lite), by the name of the file."""
    results = service.client.results
    if name is None:
        names = results.plots(job_id)
        service.screen.answer(names, "\n".join(names))
        return
    to = output or Path(f"{job_id}-{name}.svg")
    file_format = to.suffix.removeprefix(".")
    if file_format not in {"svg", "png", "json"}:
        raise typer.BadParameter(
            f"{str(to)!r} ends in none of .svg, .png and .json", param_hint="--output"
        )
    saved = results.plot(job_id, name, to, file_format=file_format, split=split)  # type: ignore[arg-type]  # it is one of them
    _tell(service, saved)


@remote
def download(
    service: Service,
    what: Annotated[
        str,
        typer.Argument(metavar="JOB|MODEL", help="id of a job; id or alias of a model"),
    ],
    file_format: Annotated[
        FileFormat,
        typer.Option(
            "--format",
            help="a model as safetensors or onnx; a job's loss ledger as csv, ndjson or parquet; "
            "the script that repeats a job's evaluation",
        ),
    ] = "safetensors",
    output: Output = None,
) -> None:
    """Save a model, a loss ledger or a script; what broke off goes on where it was."""
    to, fetch = _fetch(service, what, file_format)
    with advancing(service.screen, f"receiving {to if output is None else output}") as advance:
        saved = fetch(output or to, advance)
    _tell(service, saved)


Fetch = Callable[[Path, Advance], Path]


def _fetch(service: Service, what: str, file_format: FileFormat) -> tuple[Path, Fetch]:
    """What the file is called when nobody says otherwise, and how it is had."""
    client = service.client
    if file_format == "safetensors" or file_format == "onnx":
        model_id = _model_of(service, what)
        return Path(f"{model_id}.{file_format}"), lambda to, advance: client.models.download(
            model_id, to, file_format=file_format, advance=advance
        )
    if file_format == "script":
        return Path(f"evaluate-{what}.py"), lambda to, advance: client.results.script(
            what, to, advance=advance
        )
    return Path(f"{what}-samples.{file_format}"), lambda to, _: client.results.samples_file(
        what, to, file_format=file_format
    )


def _model_of(service: Service, what: str) -> str:
    if not what.startswith("job_"):
        return what
    model_id = service.client.jobs.get(what).model_id
    if model_id is None:
        raise CommandError(f"{what} has no model; with --format csv its loss ledger is saved")
    return model_id


def _tell(service: Service, saved: Path) -> None:
    service.screen.answer({"file": str(saved), "size_bytes": saved.stat().st_size}, str(saved))
