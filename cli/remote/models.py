"""Commands on models: list them, ask one about photos."""

from pathlib import Path
from typing import Annotated

import typer

from cli.remote import tables
from cli.remote.options import Limit
from cli.remote.service import Service, remote


@remote
def models(
    service: Service,
    dataset: Annotated[str | None, typer.Option(help="only trained on this one")] = None,
    name: Annotated[str | None, typer.Option(help="only of this name")] = None,
    limit: Limit = 20,
) -> None:
    """List models, newest first."""
    found = list(service.client.models.list(limit=limit, dataset_id=dataset, name=name))
    service.screen.listing(found, tables.models(found))


@remote
def predict(
    service: Service,
    model_id: Annotated[str, typer.Argument(metavar="MODEL", help="id or alias of the model")],
    photos: Annotated[list[Path], typer.Argument(help="files on this machine")],
    top_k: Annotated[int, typer.Option(min=1, help="classes to show, at most")] = 3,
) -> None:
    """Ask a model about photos."""
    found = service.client.models.predict(model_id, photos, top_k=top_k)
    answered = zip(map(str, photos), found, strict=True)
    if service.screen.as_json:
        for name, each in answered:
            service.screen.line({"file": name, **each.json_body()})
        return
    service.screen.show(tables.predictions(answered))
