"""`tunesmith submit`: jobs, with an option for each field of their requests.

The options are made from the specs that the service itself checks requests with. What they are
given is not judged here: the service answers, as it does to everybody.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from inspect import Parameter, Signature
from typing import Annotated, Any

import typer

from cli.remote.given_fields import Schema, body, resolved
from cli.remote.options import Assignments, File, Key, Watch
from cli.remote.service import Service, remote
from cli.remote.watching import tell_submitted
from jobs.dataset_spec import Spec
from jobs.job_fields import JobFields
from jobs.spec import (
    EvaluationSpec,
    FineTuneSpec,
    LrFindSpec,
    PredictionSpec,
    PresizingPreviewSpec,
)
from tunesmith_client.jobs import Kind

_SPEC_OF: Mapping[Kind, type[Spec]] = {
    "lr_find": LrFindSpec,
    "fine_tune": FineTuneSpec,
    "evaluation": EvaluationSpec,
    "prediction": PredictionSpec,
    "presizing_preview": PresizingPreviewSpec,
}
_HELP_OF: Mapping[Kind, str] = {
    "lr_find": "Find a learning rate.",
    "fine_tune": "Train a model: a new head first, then every layer.",
    "evaluation": "Score a model on the photos of a dataset.",
    "prediction": "Ask a model about all photos of a dataset.",
    "presizing_preview": "Compare ways of presizing on photos of a dataset.",
}

app = typer.Typer(no_args_is_help=True, help="Submit a job.")


def _command_of(kind: Kind) -> Callable[..., None]:
    schema = _SPEC_OF[kind].model_json_schema()

    def command(service: Service, /, **given: Any) -> None:  # noqa: ANN401 - one for each option
        file, assignments = given.pop("file"), given.pop("assignments") or ()
        watch, key = given.pop("watch"), given.pop("key")
        asked = body(file, given, assignments, schema)
        job = service.client.jobs.submit(kind, asked, idempotency_key=key)
        tell_submitted(service, job, watch=watch)

    command.__doc__ = _HELP_OF[kind]
    first = Parameter("service", Parameter.POSITIONAL_OR_KEYWORD, annotation=Service)
    command.__signature__ = Signature([first, *_fields(schema), *_FURTHER])  # type: ignore[attr-defined]  # inspect reads it
    return remote(command)


def _fields(schema: Schema) -> Iterator[Parameter]:
    # what all jobs have comes last
    fields = sorted(
        schema["properties"].items(), key=lambda item: item[0] in JobFields.model_fields
    )
    for name, field in fields:
        option = typer.Option(
            f"--{name.replace('_', '-')}",
            metavar="VALUE",
            help=_help({**resolved(field, schema), **field}),
            rich_help_panel="Fields of the request",
        )
        yield _parameter(name, Annotated[str | None, option], None)


def _help(field: Schema) -> str:
    told = str(field.get("description", ""))
    default = json.dumps(field["default"]) if "default" in field else ""
    return f"{told} \\[{default}]".strip() if default not in {"", "null"} else told


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:  # noqa: ANN401 - as inspect
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


_FURTHER = (
    _parameter("file", File, None),
    _parameter("assignments", Assignments, None),
    _parameter("watch", Watch, False),
    _parameter("key", Key, None),
)

for _kind in _SPEC_OF:
    app.command(_kind.replace("_", "-"))(_command_of(_kind))
