"""The field reference keeps up with the specs."""

from pathlib import Path

from jobs.field_table import reference
from jobs.spec import FineTuneSpec

PAGE = Path(__file__).parents[2] / "docs" / "fields.md"


def test_the_page_is_what_the_specs_say() -> None:
    assert PAGE.read_text() == reference(), "run `make docs`"


def test_every_field_of_a_fine_tune_has_a_row() -> None:
    page = reference()

    assert [name for name in FineTuneSpec.model_fields if f"| `{name}` |" not in page] == []
