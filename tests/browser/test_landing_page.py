"""The page at / in a browser without a network: the queue, the latest jobs, and the key."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from cli.stack import Stack
from tests.api.given import CATS
from tests.browser.chromium import blocked, driven, needs_driver
from tunesmith_client import Client

pytestmark = [pytest.mark.browser, needs_driver]

PATIENCE_S = 60


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path: a unix socket has to fit."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def locked(folder: Path) -> Iterator[Stack]:
    """A stack that asks for keys."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TUNESMITH_AUTH", "keys")
        made = Stack(folder / "data", port=0, dataset_roots=(), report=lambda _: None)
    with made as stack:
        stack.wait_until_ready()
        yield stack


def shown(browser: Chrome, selector: str) -> str:
    """The text of a part of the page, as soon as it is to be seen."""
    wait = WebDriverWait(browser, PATIENCE_S)
    return str(wait.until(lambda page: page.find_element(By.CSS_SELECTOR, selector).text))


def test_the_page_shows_queue_and_jobs_to_who_has_a_key(
    locked: Stack, folder: Path, tmp_path: Path
) -> None:
    key = (folder / "data" / "admin-key").read_text().strip()
    with Client(locked.url, key=key) as client:
        job_id = client.post("/v1/datasets", CATS)["job_id"]

    with driven(tmp_path) as browser:
        browser.get(locked.url)
        assert "asks for an API key" in shown(browser, "#key h2")
        assert not browser.find_element(By.ID, "queue").is_displayed()

        for typed, selector, sign in (
            ("tsk_" + "w" * 43, "#refused", "unknown, expired or revoked"),
            (key, "#jobs tbody", job_id),
        ):
            browser.find_element(By.ID, "secret").send_keys(typed)
            browser.find_element(By.CSS_SELECTOR, "#key button").click()
            assert sign in shown(browser, selector)

        assert "prepare" in shown(browser, "#queue tbody")
        assert not browser.find_element(By.ID, "key").is_displayed()
        assert key not in browser.page_source
        assert blocked(browser) == []


def test_without_a_script_the_page_still_says_what_this_is(locked: Stack, tmp_path: Path) -> None:
    with driven(tmp_path) as browser:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        browser.get(locked.url)

        assert "fine-tunes image classifiers" in shown(browser, ".lead")
        assert "/v1/queue" in shown(browser, "noscript")
        assert len(browser.find_elements(By.CSS_SELECTOR, "nav a")) == 3
