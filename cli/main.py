"""The `tunesmith` command: what there is, and where; nothing is imported before it is called."""

import sys
from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from cli.command_error import CommandError
from cli.remote.exit_codes import ExitCode, exit_code_of
from jobs.errors import JobsError
from jobs.settings_error import SettingsError
from tunesmith_client import TunesmithError

_WORK, _RESULTS, _SERVICE = "Ask a service", "See what came of it", "Run a service"
_PLACE_OF: Mapping[str, tuple[str, str]] = {
    "datasets": (_WORK, "cli.remote.datasets:app"),
    "submit": (_WORK, "cli.remote.submit:app"),
    "jobs": (_WORK, "cli.remote.jobs:jobs"),
    "watch": (_WORK, "cli.remote.jobs:watch"),
    "cancel": (_WORK, "cli.remote.jobs:cancel"),
    "stop": (_WORK, "cli.remote.jobs:stop"),
    "pause": (_WORK, "cli.remote.jobs:pause"),
    "resume": (_WORK, "cli.remote.jobs:resume"),
    "retry": (_WORK, "cli.remote.jobs:retry"),
    "samples": (_RESULTS, "cli.remote.results:samples"),
    "plot": (_RESULTS, "cli.remote.results:plot"),
    "download": (_RESULTS, "cli.remote.results:download"),
    "models": (_RESULTS, "cli.remote.models:models"),
    "predict": (_RESULTS, "cli.remote.models:predict"),
    "demo": (_SERVICE, "cli.demo:demo"),
    "up": (_SERVICE, "cli.running:up"),
    "down": (_SERVICE, "cli.running:down"),
    "api": (_SERVICE, "cli.running:api"),
    "worker": (_SERVICE, "cli.running:worker"),
    "migrate": (_SERVICE, "cli.keys:migrate"),
    "keys": (_SERVICE, "cli.keys:app"),
    "doctor": (_SERVICE, "cli.doctor:doctor"),
    "gc": (_SERVICE, "cli.gc:gc"),
    "export-job": (_SERVICE, "cli.backup:export_job"),
    "restore": (_SERVICE, "cli.backup:restore_artifacts"),
}
"""Each command with its part of the help and the function or group that it is."""


class _Commands(TyperGroup):
    """Commands that are imported when they are called: asking a service loads no database."""

    def __init__(self, **attributes: Any) -> None:  # noqa: ANN401 - what Typer passes
        super().__init__(**attributes)
        self.commands = _Imported()


class _Imported(UserDict[str, Any]):
    """The commands by name, each made when it is looked up."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(_PLACE_OF))

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer's own class is private
        panel, place = _PLACE_OF[name]
        command = get_command(_app_of(place, name))
        command.rich_help_panel = panel  # type: ignore[attr-defined]  # all of Typer's have it
        return command


def _app_of(place: str, name: str) -> typer.Typer:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        found.info.name = name
        return found
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return alone


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def tunesmith() -> None:
    """Find learning rates, fine-tune image classifiers and see where every bit of loss is."""


def main() -> None:
    """The command line; what cannot be done is said, and the exit code says of what kind it is."""
    try:
        app()
    except TunesmithError as problem:
        _end(problem, exit_code_of(problem))
    except (CommandError, JobsError, SettingsError) as problem:
        _end(problem, ExitCode.OTHER)


def _end(problem: Exception, code: ExitCode) -> None:
    print(f"tunesmith: {problem}", file=sys.stderr)
    raise SystemExit(int(code)) from problem


if __name__ == "__main__":
    main()
