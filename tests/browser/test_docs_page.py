"""The docs page as a browser without a network draws it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cli.stack import Stack

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed on this machine"),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # every name but the service's own leads nowhere
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--virtual-time-budget=10000",
)


@pytest.mark.parametrize(
    ("page", "sign"), [("docs", "opblock-summary-path"), ("redoc", "Register a dataset")]
)
def test_the_docs_are_drawn_from_local_files(
    stack: Stack, tmp_path: Path, page: str, sign: str
) -> None:
    drawn = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", f"{stack.url}/{page}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert sign in drawn.stdout
    assert "/v1/fine-tunes" in drawn.stdout
