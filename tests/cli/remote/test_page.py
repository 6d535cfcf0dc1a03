"""docs/cli.md names every command that asks a service, every exit code and every kind of job."""

import re

from cli.main import _PLACE_OF, _WORK, app
from cli.remote import datasets, submit
from cli.remote.exit_codes import ExitCode
from tests.pages import DOCS

PAGE = (DOCS / "cli.md").read_text()
README = (DOCS.parent / "README.md").read_text()


def test_the_page_names_every_command_that_asks_a_service() -> None:
    groups = {"datasets": datasets.app, "submit": submit.app}
    places = {name: place for name, (_, place) in _PLACE_OF.items() if ".remote." in place}
    commands = places.keys() - groups.keys()
    commands |= {
        f"{group} {command.name or getattr(command.callback, '__name__', '')}"
        for group, members in groups.items()
        for command in members.registered_commands
    }

    assert "jobs" in commands
    assert "submit fine-tune" in commands
    assert {name for name in commands if not re.search(rf"`{name}[` ]", PAGE)} == set()


def test_the_page_and_the_code_have_the_same_exit_codes() -> None:
    section = PAGE.split("| exit code | means |", 1)[1]

    assert [int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)] == [
        int(code) for code in ExitCode
    ]


def test_every_command_can_be_imported_and_says_what_it_does() -> None:
    from typer.main import get_command

    command = get_command(app)
    found = {name: command.commands[name] for name in _PLACE_OF}  # type: ignore[attr-defined]  # it is a group

    assert {name for name, each in found.items() if not each.help} == set()
    assert any(panel == _WORK for panel, _ in _PLACE_OF.values())


def test_every_variable_of_the_command_line_is_a_setting_of_the_readme() -> None:
    variables = set(re.findall(r"`(TUNESMITH_\w+)`", PAGE))

    assert variables == {"TUNESMITH_URL", "TUNESMITH_API_KEY_FILE", "TUNESMITH_API_KEY"}
    assert {name for name in variables if f"`{name}`" not in README} == set()
