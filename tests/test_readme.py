"""The README keeps up with the code."""

from pathlib import Path

from jobs.settings import Settings

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_every_setting_is_in_the_table() -> None:
    missing = [
        name for name in Settings.model_fields if f"`TUNESMITH_{name.upper()}`" not in README
    ]

    assert missing == []
