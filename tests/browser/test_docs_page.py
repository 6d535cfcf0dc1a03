"""The docs page as a browser without a network draws it."""

from pathlib import Path

import pytest

from cli.stack import Stack
from tests.browser.chromium import drawn, needs_chromium

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.mark.parametrize(
    ("page", "sign"), [("docs", "opblock-summary-path"), ("redoc", "Register a dataset")]
)
def test_the_docs_are_drawn_from_local_files(
    stack: Stack, tmp_path: Path, page: str, sign: str
) -> None:
    shown = drawn(f"{stack.url}/{page}", tmp_path)

    assert sign in shown
    assert "/v1/fine-tunes" in shown
