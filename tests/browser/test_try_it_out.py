"""Every example of the docs page is tried out by a browser without a network, and works."""

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from api.openapi_document import kept_document
from cli.stack import Stack
from tests.browser.chromium import blocked, driven, needs_driver
from tests.e2e.conftest import TINY, dataset_body, finished
from tests.worker.photos import write_photos
from tunesmith_client import Client, Json

pytestmark = [pytest.mark.browser, pytest.mark.slow, needs_driver, pytest.mark.timeout(1800)]

SCRIPT = Path(__file__).with_name("try_out.js").read_text()
KEPT = kept_document()
BREEDS = ("beagle", "Beagle", "fox")
"""The labels that the examples name."""
VERBS = ["pauseJob", "resumeJob", "stopJob", "cancelJob"]
"""Tried in this order: a job that waits is paused before it is cancelled."""
EXAMPLES = {
    operation["operationId"]: list(
        operation.get("requestBody", {})
        .get("content", {})
        .get("application/json", {})
        .get("examples", {})
    )
    for methods in KEPT["paths"].values()
    for operation in methods.values()
}
"""Names of each operation's examples; none where it has but one."""
NOBODY = "http://127.0.0.1:65535/"
"""An address that may be called and where nobody answers: no system gives this port out."""
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
def client(stack: Stack, folder: Path) -> Iterator[Client]:
    """A client of the stack, on which there is one thing of each kind, and a succeeded job."""
    with Client(stack.url) as client:
        dataset = client.post("/v1/datasets", dataset_body(stack.settings.dataset_roots[0]))
        client.post("/v1/api-keys", {"name": "page", "scopes": ["read"]})
        client.uploads.send(_archive(folder))
        webhook = client.post("/v1/webhooks", {"url": NOBODY, "events": ["job.succeeded"]})
        client.post(f"/v1/webhooks/{webhook['id']}/test", {})
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


def _archive(folder: Path) -> Path:
    """The photos in one file, in a folder for each breed."""
    archive = folder / "pets.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for file in (folder / "photos").iterdir():
            made.write(file, f"{file.stem.partition('_')[0]}/{file.name}")
    return archive


class Page:
    """The docs page in a browser."""

    def __init__(self, browser: Chrome, url: str, folder: Path) -> None:
        self._browser, self._url, self._folder = browser, url, folder
        self._places = [
            ["/data/pets", str(folder / "photos")],
            ["https://example.org/", NOBODY],
        ]

    def load(self) -> None:
        """The examples name what is here now."""
        self._browser.get(f"{self._url}/docs")

    def refusals(self, operation: str) -> list[str]:
        """What was wrong when the operation's examples were tried; nothing where all worked."""
        if operation == "createUpload":
            self._choose_archive()
        examples = EXAMPLES[operation]
        answers = self._browser.execute_async_script(SCRIPT, operation, examples, self._places)
        return [
            f"{operation} {example or ''}: {status} {told}"
            for example, status, told in answers
            if not status.startswith("2")
        ]

    def _choose_archive(self) -> None:
        block = self._browser.find_element(By.CSS_SELECTOR, '.opblock[id$="-createUpload"]')
        block.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()
        self._browser.implicitly_wait(20)
        block.find_element(By.CSS_SELECTOR, ".try-out__btn").click()
        file = block.find_element(By.CSS_SELECTOR, "input[type=file]")
        file.send_keys(str(self._folder / "pets.zip"))

    def blocked(self) -> list[str]:
        """What the page's policy has kept it from."""
        return blocked(self._browser)


@pytest.fixture(scope="module")
def page(client: Client, stack: Stack, folder: Path) -> Iterator[Page]:
    """The page; all is there that its examples may name."""
    with driven(folder / "profile") as browser:
        yield Page(browser, stack.url, folder)


def operations(method: str) -> list[str]:
    """Operations of this method that need nothing more than what there is."""
    found = [methods[method] for methods in KEPT["paths"].values() if method in methods]
    names = [operation["operationId"] for operation in found]
    return [name for name in names if name not in {*VERBS, "streamJobEvents"}]


def test_every_example_works(page: Page) -> None:
    page.load()

    wrong = [
        page.refusals(each) for method in ("get", "patch", "post") for each in operations(method)
    ]

    assert [each for refusals in wrong for each in refusals] == []
    assert page.blocked() == []


def test_every_verb_works_on_a_job_that_allows_it(page: Page, client: Client) -> None:
    _cancel_all(client)
    dataset = next(each for each in client.get("/v1/datasets")["data"] if each["state"] == "ready")
    body = {"dataset": dataset["id"], **LONG}
    paused, running, waiting = (client.post("/v1/fine-tunes", body)["id"] for _ in range(3))
    _wait_for(client, paused, "running")
    client.post(f"/v1/jobs/{paused}/pause", {})
    _wait_for(client, paused, "paused")
    _wait_for(client, running, "running")
    page.load()

    wrong = [page.refusals(each) for each in VERBS]

    assert [each for refusals in wrong for each in refusals] == []
    _wait_for(client, running, "succeeded")
    assert client.get(f"/v1/jobs/{waiting}")["state"] == "cancelled"
    assert client.get(f"/v1/jobs/{paused}")["state"] != "paused"


def test_every_deletion_works(page: Page, client: Client) -> None:
    _cancel_all(client)
    page.load()

    wrong = [page.refusals(each) for each in operations("delete")]

    assert [each for refusals in wrong for each in refusals] == []


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
