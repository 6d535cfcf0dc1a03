"""Headless Chromium without a network: every name but this machine's leads nowhere."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed on this machine")

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def drawn(url: str, profile: Path, *, budget_ms: int = 10_000) -> str:
    """The page's document after its scripts have had so much of the browser's own time."""
    budget = f"--virtual-time-budget={budget_ms}"
    command = [CHROMIUM, *_FLAGS, budget, f"--user-data-dir={profile}", "--dump-dom", url]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return shown.stdout
