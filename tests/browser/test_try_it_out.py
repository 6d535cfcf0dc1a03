"""Every example of the docs page is tried out by a browser without a network, and works."""

import json
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from cli.stack import Stack
from tests.browser.chromium import blocked, driven, needs_driver
from tests.e2e.conftest import TINY, dataset_body, finished
from tests.worker.photos import write_photos
from tunesmith_client import Client, Json

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_driver, pytest.mark.timeout(1800)]

SCRIPT = Path(__file__).with_name("try_out.js").read_text()
KEPT = json.loads((Path(__file__).parents[1] / "api" / "openapi.json").read_text())
BREEDS = ("beagle", "Beagle", "fox")
"""The labels that the examples name."""
VERBS = {f"{verb}Job" for verb in ("pause", "resume", "stop", "cancel")}
LAST = {"editJob", "editDataset", "editModel", "getApiKey", "getUpload"}
"""They need what the creating operations made."""
LONG: Json = {**TINY, "epochs": 500, "freeze_epochs": 0}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path: a unix socket has to fit."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    """A stack that may read the folder, the web server and the store that examples name."""
    photos = folder / "photos"
    for number, breed in enumerate(BREEDS):
        write_photos(folder / str(number), per_class=4)
        photos.mkdir(exist_ok=True)
        for place, file in enumerate(sorted((folder / str(number)).iterdir())):
            file.rename(photos / f"{breed}_{place}.jpg")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TUNESMITH_REMOTE_ROOTS", "s3://photos/pets")
        environment.setenv("TUNESMITH_PRIVATE_TARGETS", "127.0.0.1")
        made = Stack(folder / "data", port=0, dataset_roots=(photos,), report=lambda _: None)
    with made as stack:
        stack.wait_until_ready()
        yield stack


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[Client]:
    """A client of the stack, on which one job of each kind has succeeded."""
    with Client(stack.url) as client:
        dataset = client.post("/v1/datasets", dataset_body(stack.settings.dataset_roots[0]))
        finished(client, dataset["job_id"])
        of = {"dataset": dataset["id"]}
        short = {**TINY, "epochs": 1, "freeze_epochs": 0}
        find = client.post("/v1/lr-finds", {**of, **TINY, "num_steps": 20})
        tuned = finished(client, client.post("/v1/fine-tunes", {**of, **short})["id"])
        made = [
            find,
            client.post("/v1/predictions", {**of, "model": tuned["model_id"]}),
            client.post("/v1/presizing-previews", {**of, "images": 1, "size": 64, "presize": 64}),
        ]
        assert {finished(client, job["id"])["state"] for job in made} == {"succeeded"}
        yield client


class Page:
    """The docs page in a browser."""

    def __init__(self, browser: Chrome, url: str, folder: Path) -> None:
        self._browser, self._url, self._folder = browser, url, folder
        self._places = [
            ["/data/pets", str(folder / "photos")],
            ["https://example.org/", "http://127.0.0.1:9/"],
        ]

    def load(self) -> None:
        """The examples name what is here now."""
        self._browser.get(f"{self._url}/docs")

    def refusal(self, operation: str, example: str | None = None) -> str | None:
        """What was wrong when the operation was tried; None where it worked."""
        if operation == "createUpload":
            self._choose_archive()
        try:
            answer = self._browser.execute_async_script(SCRIPT, operation, example, self._places)
        except TimeoutException:
            return f"{operation} {example or ''}: no answer is shown"
        status, told = answer
        return None if status.startswith("2") else f"{operation} {example or ''}: {status} {told}"

    def _choose_archive(self) -> None:
        archive = self._folder / "pets.zip"
        with zipfile.ZipFile(archive, "w") as made:
            for file in (self._folder / "photos").iterdir():
                made.write(file, file.name)
        block = self._browser.find_element(By.CSS_SELECTOR, '.opblock[id$="-createUpload"]')
        block.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()
        self._browser.implicitly_wait(20)
        block.find_element(By.CSS_SELECTOR, ".try-out__btn").click()
        block.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(archive))

    def blocked(self) -> list[str]:
        """What the page's policy has kept it from."""
        return blocked(self._browser)


@pytest.fixture(scope="module")
def page(client: Client, stack: Stack, folder: Path) -> Iterator[Page]:
    """The page; all is there that its examples may name."""
    with driven(folder / "profile") as browser:
        yield Page(browser, stack.url, folder)


def tried(method: str) -> list[tuple[str, str | None]]:
    """Operations of this method with the names of their examples, or with None."""
    found: list[tuple[str, str | None]] = []
    for methods in KEPT["paths"].values():
        operation = methods.get(method, {"operationId": "streamJobEvents"})
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        names = list(body.get("examples", {})) or [None]
        found += [(operation["operationId"], name) for name in names]
    return [pair for pair in found if pair[0] not in VERBS | {"streamJobEvents"}]


def test_every_example_works(page: Page, client: Client) -> None:
    page.load()
    wrong = [page.refusal(*each) for each in tried("get") if each[0] not in LAST]
    wrong += [page.refusal(*each) for each in tried("post")]
    _cancel_all(client)
    # what was made is there now
    page.load()
    wrong += [page.refusal(*each) for each in tried("get") if each[0] in LAST]
    wrong += [page.refusal(*each) for each in tried("patch")]

    assert [each for each in wrong if each is not None] == []
    assert page.blocked() == []


def test_every_verb_works_on_a_job_that_allows_it(page: Page, client: Client) -> None:
    dataset = next(each for each in client.get("/v1/datasets")["data"] if each["state"] == "ready")
    body = {"dataset": dataset["id"], **LONG}
    for verb, state in (("pause", "paused"), ("resume", "running"), ("stop", "succeeded")):
        if verb == "pause":
            job = client.post("/v1/fine-tunes", body)
            _wait_for(client, job["id"], "running")
        page.load()
        assert page.refusal(f"{verb}Job") is None
        _wait_for(client, job["id"], state)
    job = client.post("/v1/fine-tunes", body)
    page.load()
    assert page.refusal("cancelJob") is None
    _wait_for(client, job["id"], "cancelled")


def test_every_deletion_works(page: Page, client: Client) -> None:
    _cancel_all(client)
    page.load()

    wrong = [page.refusal(*each) for each in tried("delete")]

    assert [each for each in wrong if each is not None] == []


def _cancel_all(client: Client) -> None:
    for job in client.get("/v1/jobs", limit=200)["data"]:
        if "cancel" in job["allowed_actions"]:
            client.post(f"/v1/jobs/{job['id']}/cancel", {})
            finished(client, job["id"])


def _wait_for(client: Client, job_id: str, state: str) -> None:
    """Returns as soon as an event brings the job into the state."""
    for _ in client.jobs.events(job_id):
        if client.get(f"/v1/jobs/{job_id}")["state"] == state:
            return
    assert client.get(f"/v1/jobs/{job_id}")["state"] == state
