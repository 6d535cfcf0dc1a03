"""How a command gets to a service: the options that all of them have."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec
from urllib.parse import urlsplit

import typer

from cli.command_error import CommandError
from cli.remote.screen import Screen
from jobs.client_key import client_key
from tunesmith_client import Client

P = ParamSpec("P")

Url = Annotated[
    str,
    typer.Option(
        "--url", envvar="TUNESMITH_URL", help="address of the service", rich_help_panel="Service"
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        envvar="TUNESMITH_API_KEY_FILE",
        help="file with the API key; absent: TUNESMITH_API_KEY. There is no option for the key "
        "itself, as every user of a machine can read command lines",
        rich_help_panel="Service",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="answer in JSON, for programs", rich_help_panel="Service"),
]

_SHARED = (
    Parameter("url", Parameter.KEYWORD_ONLY, annotation=Url, default="http://127.0.0.1:8000"),
    Parameter("api_key_file", Parameter.KEYWORD_ONLY, annotation=KeyFile, default=None),
    Parameter("as_json", Parameter.KEYWORD_ONLY, annotation=AsJson, default=False),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service to ask, and where to say what it answers."""

    client: Client
    screen: Screen


def remote(
    function: Callable[Concatenate[Service, P], None],
) -> Callable[..., None]:
    """The function as a command: its first parameter is the service that the options name."""

    @functools.wraps(function)
    def command(*, url: str, api_key_file: Path | None, as_json: bool, **given: Any) -> None:  # noqa: ANN401
        client = _client(url, api_key_file)
        try:
            with client:
                function(Service(client, Screen(as_json=as_json)), **given)  # type: ignore[call-arg]  # Typer passes what the signature names
        except BrokenPipeError:
            # whoever read has had enough, as `head` has; Typer ends without a word
            raise
        except OSError as problem:
            # a file of this machine's: the client has exceptions of its own for the network
            raise CommandError(str(problem)) from problem

    signature = inspect.signature(function, eval_str=True)
    own = [
        parameter.replace(kind=Parameter.KEYWORD_ONLY)
        for parameter in list(signature.parameters.values())[1:]
    ]
    command.__signature__ = signature.replace(parameters=[*own, *_SHARED])  # type: ignore[attr-defined]  # it is read by inspect
    return command


def _client(url: str, api_key_file: Path | None) -> Client:
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise typer.BadParameter(
            f"{url!r} is no address; write it as in http://127.0.0.1:8000", param_hint="--url"
        )
    return Client(url, key=client_key() if api_key_file is None else _key_in(api_key_file))


def _key_in(file: Path) -> str:
    try:
        key = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        raise typer.BadParameter(str(problem), param_hint="--api-key-file") from problem
    if not key.isascii() or not key.isprintable() or " " in key or not key:
        raise typer.BadParameter(
            f"{file} holds no API key: one line, such as tsk_…", param_hint="--api-key-file"
        )
    return key
