"""`tunesmith datasets`: register, send, list, show."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.remote import tables
from cli.remote.given_fields import body
from cli.remote.options import Assignments, File, Key, Limit, Watch
from cli.remote.service import Service, remote
from cli.remote.transfers import advancing
from cli.remote.watching import watch_to_the_end
from jobs.dataset_spec import DatasetSpec
from tunesmith_client import Json, Upload, sources

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
_STORES = ("s3://", "gs://", "az://")
_DRAWN = "sample"

app = typer.Typer(no_args_is_help=True, help="Register, send, list and show datasets.")


@app.command()
@remote
def register(  # noqa: PLR0913 - one for each option
    service: Service,
    source: Annotated[
        str | None,
        typer.Argument(
            help="a folder on the server; an archive on this machine, which is sent first; upl_… "
            "of one that was sent; an address http://…, s3://…, gs://… or az://…; or sample: the "
            "service draws photos"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="absent: the end of the source")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="label: the first group of this regular expression in the file's name"),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="label: parent_folder, imagefolder, or a rule as a JSON object"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="random, folders, or a rule as a JSON object")
    ] = None,
    file: File = None,
    assignments: Assignments = None,
    watch: Watch = False,
    key: Key = None,
) -> None:
    """Register a dataset; its photos are imported and checked by a job."""
    options = {
        "name": name or _name_of(source),
        "source": _source(service, source),
        "labels": _regex(pattern) or _rule(labels),
        "split": _rule(split),
    }
    asked = body(file, options, assignments or (), DatasetSpec.model_json_schema())
    dataset = service.client.datasets.register_body(asked, idempotency_key=key)
    service.screen.note(f"dataset {dataset.id} {dataset.state}, by {dataset.job_id}")
    if watch:
        watch_to_the_end(service, dataset.job_id)
    else:
        service.screen.answer(dataset.json_body(), dataset.id)


@app.command()
@remote
def upload(
    service: Service,
    archive: Annotated[Path, typer.Argument(help=f"one of {', '.join(_ARCHIVES)}")],
) -> None:
    """Send an archive of photos; `register upl_…` makes a dataset of it."""
    sent = _sent(service, archive)
    service.screen.answer(sent.json_body(), sent.id)


@app.command("list")
@remote
def list_(service: Service, limit: Limit = 20) -> None:
    """List datasets, newest first."""
    found = list(service.client.datasets.list(limit=limit))
    service.screen.listing(found, tables.datasets(found))


@app.command()
@remote
def show(
    service: Service,
    dataset_id: Annotated[str, typer.Argument(metavar="DATASET", help="id, ds_…")],
    report: Annotated[
        bool, typer.Option("--report", help="what the import found, as JSON")
    ] = False,
) -> None:
    """Show a dataset: its state, parts and classes."""
    if report:
        found = service.client.datasets.report(dataset_id)
        service.screen.answer(found, json.dumps(found, indent=2, ensure_ascii=False))
        return
    dataset = service.client.datasets.get(dataset_id)
    service.screen.answer(dataset.json_body(), tables.dataset(dataset))


def _source(service: Service, text: str | None) -> Json | None:
    if text is None:
        return None
    if text == _DRAWN:
        return {"type": "sample"}
    if text.startswith("upl_"):
        return sources.uploaded(text)
    if text.startswith(("http://", "https://")):
        return sources.web_archive(text)
    if text.startswith(_STORES):
        return sources.store(text)
    if text.endswith(_ARCHIVES):
        return sources.uploaded(_sent(service, Path(text)))
    folder = Path(text).expanduser()
    # the service wants an absolute folder; here and there are often one machine
    return sources.folder(str(folder.absolute()) if folder.is_dir() else text)


def _sent(service: Service, archive: Path) -> Upload:
    with advancing(service.screen, f"sending {archive.name}") as advance:
        return service.client.uploads.send(archive, advance=advance)


def _name_of(source: str | None) -> str | None:
    if source is None:
        return None
    name = Path(source).name
    ending = next((ending for ending in _ARCHIVES if name.endswith(ending)), "")
    return name.removesuffix(ending) or source


def _regex(pattern: str | None) -> Json | None:
    return None if pattern is None else {"rule": "regex", "pattern": pattern}


def _rule(text: str | None) -> Any:  # noqa: ANN401 - the service says what is wrong with it
    if text is None:
        return None
    return json.loads(text) if text.startswith("{") else {"rule": text}
