"""What a text on a command line is taken for."""

from pathlib import Path
from typing import Any

import pytest
import typer

from cli.command_error import CommandError
from cli.remote.given_fields import body, value
from jobs.spec import FineTuneSpec

SCHEMA = FineTuneSpec.model_json_schema()


@pytest.mark.parametrize(
    ("text", "path", "expected"),
    [
        ("6", ("epochs",), 6),
        ("six", ("epochs",), "six"),
        ("auto", ("learning_rate",), "auto"),
        ("1e-3", ("learning_rate",), 0.001),
        ('{"from_job": "job_1"}', ("learning_rate",), {"from_job": "job_1"}),
        ("null", ("early_stopping",), None),
        ("7", ("name",), "7"),
        ("true", ("architecture",), "true"),
        ("7", ("precision",), "7"),
        ("false", ("augment", "flip"), False),
        ("7", ("metadata", "ticket"), "7"),
        ("7", ("unknown",), 7),
        ("text", ("unknown", "inside"), "text"),
    ],
)
def test_a_text_is_json_unless_its_field_takes_texts_only(
    text: str, path: tuple[str, ...], expected: object
) -> None:
    found: Any = value(text, SCHEMA, *path)

    assert (found, type(found)) == (expected, type(expected))


def test_assignments_win_over_options_and_options_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"epochs": 1, "seed": 1, "augment": {"max_warp": 0}}')

    made = body(file, {"epochs": "2", "seed": None}, ["epochs=3", "augment.flip=false"], SCHEMA)

    assert made == {"epochs": 3, "seed": 1, "augment": {"max_warp": 0, "flip": False}}


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[]")

    with pytest.raises(CommandError, match="holds no JSON object"):
        body(tmp_path / "list.json", {}, [], SCHEMA)
    with pytest.raises(CommandError, match="cannot be read as JSON"):
        body(tmp_path / "nowhere.json", {}, [], SCHEMA)
    with pytest.raises(CommandError, match="epochs is 3, which has no fields inside"):
        body(None, {"epochs": "3"}, ["epochs.more=1"], SCHEMA)
    with pytest.raises(typer.BadParameter, match="is not like name=value"):
        body(None, {}, ["epochs"], SCHEMA)
