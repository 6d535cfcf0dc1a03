"""Headless Chromium without a network: every name but this machine's leads nowhere."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
DRIVER = shutil.which("chromedriver") or ""

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed on this machine")
needs_driver = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no Chromium with its driver is installed on this machine"
)

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


def blocked(browser: webdriver.Chrome) -> list[str]:
    """What the policies of its pages have kept the browser from, by its console."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's own
    return [each["message"] for each in entries if "Content Security" in each["message"]]


@contextmanager
def driven(profile: Path) -> Iterator[webdriver.Chrome]:
    """A browser that does what it is told, and keeps what pages write to the console."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS, "--window-size=1200,1000", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(DRIVER))
    # shorter than what the driver waits for, which would end it
    browser.set_script_timeout(90)
    try:
        yield browser
    finally:
        browser.quit()
