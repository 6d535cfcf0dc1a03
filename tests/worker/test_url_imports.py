"""Imports from web servers on a real worker: fetched, kept, resumed, refused."""

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobs import datasets, store, uploads, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.job import Job, JobState
from jobs.settings import Settings
from tests.archives import a_tar, a_zip, files_below
from tests.web_server import Handler, WebServer, a_file, redirect, serving, status
from tests.worker.conftest import import_folder, wait_for
from tests.worker.photos import write_photos
from worker.standby import Standby
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
Register = Callable[..., Dataset]
REGEX = {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"}


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as server:
        yield server


@pytest.fixture
def quick(quick: Settings) -> Settings:
    """Settings that allow the server, and wait for nothing."""
    fetching = {"private_targets": ("127.0.0.1",), "io_pause_s": 0.0, "fetch_idle_s": 20.0}
    return quick.model_copy(update=fetching)


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, bytes]:
    """Contents of 8 tiny photos by their names."""
    write_photos(tmp_path / "drawn", per_class=4)
    return files_below(tmp_path / "drawn")


@pytest.fixture
def register(server: WebServer, database: Database) -> Register:
    """Registers a dataset of an address on the server."""

    def run(path: str = "/a.tar", url: str = "", **further: Any) -> Dataset:  # noqa: ANN401
        source = {"type": "url", "url": url or server.url(path), **further}
        body = {"name": "pets", "source": source, "labels": REGEX}
        with database.write() as connection:
            return datasets.register(connection, DatasetSpec.model_validate(body))

    return run


def ended(database: Database, dataset: Dataset) -> Dataset:
    wait_for(database, dataset.job_id, lambda job: job.is_terminal)
    return datasets.get(database, dataset.id)


def nothing_is_left(artifacts: Artifacts, dataset: Dataset) -> bool:
    return files_below(artifacts.dataset_folder(dataset.id)) == {} and not any(
        artifacts.uploads_folder().glob("*")
    )


def test_an_address_makes_the_same_dataset_as_the_folder(
    database: Database,
    artifacts: Artifacts,
    quick: Settings,
    work: Work,
    server: WebServer,
    register: Register,
    photos: dict[str, bytes],
) -> None:
    folder = quick.dataset_roots[0] / "pets"
    write_photos(folder, per_class=4)
    server.answers |= {"/a.tar": redirect("/b"), "/b": a_file(a_tar(photos))}

    fetched = register("/a.tar?token=secret")
    of_folder = import_folder(database, work, folder, split={"rule": "random"})
    fetched = ended(database, fetched)

    assert fetched.error is None
    assert fetched.digest == of_folder.digest
    assert files_below(artifacts.photos_folder(fetched.id)) == photos
    kept = {each.name for each in artifacts.dataset_folder(fetched.id).iterdir()}
    assert kept == {"files", "items.parquet", "thumbs", "unpacked.json"}


def test_what_was_fetched_is_an_upload_of_the_owner_and_stored_once(
    database: Database,
    artifacts: Artifacts,
    work: Work,
    server: WebServer,
    register: Register,
    photos: dict[str, bytes],
) -> None:
    content = a_zip(photos)
    server.answers["/my/pets.zip"] = a_file(content)
    first, second = register("/my/pets.zip?token=secret"), register("/my/pets.zip")

    work("prepare")
    assert ended(database, first).state == ended(database, second).state == "ready"

    kept = uploads.list_uploads(database, after=None, limit=9)
    assert [(each.filename, each.format, each.owner, each.size_bytes) for each in kept] == [
        ("pets.zip", "zip", "local", len(content))
    ] * 2
    assert {each.digest for each in kept} == {hashlib.sha256(content).hexdigest()}
    files = [artifacts.upload_file(each.id) for each in kept]
    assert files[0].samefile(files[1])
    assert files[0].stat().st_nlink == 2


def test_the_expected_digest_is_checked(
    database: Database,
    artifacts: Artifacts,
    work: Work,
    server: WebServer,
    register: Register,
    photos: dict[str, bytes],
) -> None:
    content = a_tar(photos)
    server.answers["/a.tar"] = a_file(content)
    right = register(sha256=hashlib.sha256(content).hexdigest())

    work("prepare")
    assert ended(database, right).state == "ready"

    other = register(sha256="ab" * 32)
    # the worker may have looked around already, and nobody rings here
    work("prepare")
    wrong = ended(database, other)
    assert wrong.error is not None
    assert wrong.error["code"] == "digest_mismatch"
    assert hashlib.sha256(content).hexdigest() in wrong.error["message"]
    assert files_below(artifacts.dataset_folder(wrong.id)) == {}


@pytest.mark.parametrize(
    ("answer", "code", "is_passing"),
    [
        (status(404), "source_unreachable", False),
        (status(500), "source_unreachable", True),
        (redirect("http://169.254.169.254/latest/meta-data/iam"), "source_forbidden", False),
        (redirect("file:///etc/passwd"), "source_forbidden", False),
        (redirect("/a.tar"), "source_unreachable", False),
        (status(200, b"<html>Sign in</html>" * 99), "archive_invalid", False),
        (a_file(a_tar(["a_1.jpg"])[:700]), "archive_invalid", False),
        (a_file(a_zip(["../a_1.jpg"])), "archive_invalid", False),
        (a_file(a_zip({"a_1.jpg": bytes(65 << 20)})), "archive_too_large", False),
        (a_file(a_zip(["readme.txt"])), "too_few_images", False),
    ],
)
def test_what_cannot_be_used_fails_the_import_with_its_reason(
    database: Database,
    artifacts: Artifacts,
    work: Work,
    server: WebServer,
    register: Register,
    answer: Callable[[Handler], None],
    code: str,
    is_passing: bool,
) -> None:
    server.answers["/a.tar"] = answer

    made = register("/a.tar?token=secret")
    # nobody rings here: what the worker looks for is there before it looks
    work("prepare")
    dataset = ended(database, made)

    assert dataset.state == "failed"
    assert dataset.error is not None
    assert (dataset.error["code"], dataset.error["retryable"]) == (code, is_passing)
    assert dataset.error["hint"]
    assert "secret" not in str(dataset.error)
    left = files_below(artifacts.dataset_folder(dataset.id))
    assert set(left) <= {"unpacked.json"}


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.2/a.zip", "http://[::1]/a.zip", "file:///etc/passwd",
     "http://metadata.internal@127.0.0.1/", "http://2130706433/a.zip"],
)  # fmt: skip
def test_an_address_that_nobody_may_call_is_not_called(
    database: Database, work: Work, register: Register, url: str
) -> None:
    """A worker does not trust what the API has let through."""
    made = register(url=url)
    # nobody rings here: what the worker looks for is there before it looks
    work("prepare")
    dataset = ended(database, made)

    assert dataset.error is not None
    assert dataset.error["code"] == "source_forbidden"


def test_a_source_that_takes_too_long_is_left(
    database: Database,
    artifacts: Artifacts,
    quick: Settings,
    server: WebServer,
    standby: Standby,
    register: Register,
) -> None:
    """It drips: each byte comes in time, the whole never does."""
    dataset = register()
    server.answers["/a.tar"] = dripping(server, a_tar())
    impatient = quick.model_copy(update={"fetch_total_s": 0.5})
    supervisor = Supervisor(
        impatient, database, queue="prepare", worker_id="impatient", standby=standby
    )
    thread = threading.Thread(target=supervisor.work)
    thread.start()

    dataset = ended(database, dataset)

    supervisor.drain()
    thread.join()
    supervisor.close()
    assert dataset.error is not None
    assert (dataset.error["code"], dataset.error["retryable"]) == ("timeout", True)
    assert nothing_is_left(artifacts, dataset)


def dripping(server: WebServer, content: bytes, first: int = 600) -> Callable[[Handler], None]:
    """A server that sends the first bytes, and then one after the other."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", '"1"')
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:first])
        for byte in content[first:]:
            if server.over.wait(0.02):
                return
            handler.wfile.write(bytes([byte]))

    return answer


def has_come(job: Job, *, least: int = 600) -> bool:
    return ((job.progress or {}).get("bytes") or 0) >= least


def test_progress_tells_bytes_and_the_share_of_the_whole(
    database: Database, work: Work, server: WebServer, register: Register
) -> None:
    content = a_tar()
    server.answers["/a.tar"] = dripping(server, content)
    dataset = register()

    work("prepare")
    progress = wait_for(database, dataset.job_id, has_come).progress or {}

    assert (progress["phase"], progress["total_bytes"]) == ("fetching", len(content))
    assert progress["fraction"] == pytest.approx(0.4 * progress["bytes"] / len(content))
    verbs.cancel(database, dataset.job_id)
    ended(database, dataset)


def test_a_cancelled_import_leaves_nothing_although_its_server_says_nothing(
    database: Database, artifacts: Artifacts, work: Work, server: WebServer, register: Register
) -> None:
    def silent(handler: Handler) -> None:
        a_file(a_tar(), cuts=[600])(handler)
        handler.wfile.flush()
        server.over.wait()

    server.answers["/a.tar"] = silent
    dataset = register()
    work("prepare")
    wait_for(database, dataset.job_id, has_come)

    verbs.cancel(database, dataset.job_id)

    # sooner than the 20 s within which a byte must arrive
    wait_for(database, dataset.job_id, lambda job: job.is_terminal, within_s=10)
    assert store.get(database, dataset.job_id).state == JobState.CANCELLED
    assert nothing_is_left(artifacts, dataset)


@pytest.mark.parametrize("end", ["drained", "killed"])
def test_an_import_goes_on_with_what_had_come_on_another_worker(
    database: Database,
    artifacts: Artifacts,
    work: Work,
    server: WebServer,
    register: Register,
    photos: dict[str, bytes],
    end: str,
) -> None:
    content = a_tar({**photos, "filler.txt": bytes(100_000)})
    whole = a_file(content)

    def first(handler: Handler) -> None:
        server.answers["/a.tar"] = whole
        dripping(server, content, first=30_000)(handler)

    server.answers["/a.tar"] = first
    dataset = register()
    supervisor = work("prepare")
    wait_for(database, dataset.job_id, partial(has_come, least=30_000))

    if end == "drained":
        supervisor.drain()
        # nobody rings in this test: a worker that looks before the job is back would find nothing
        wait_for(database, dataset.job_id, lambda job: job.state == JobState.QUEUED)
        work("prepare")
    else:
        _kill_trainer(dataset.job_id)

    dataset = ended(database, dataset)
    assert dataset.error is None
    assert files_below(artifacts.photos_folder(dataset.id)) == photos
    (_, again) = server.ranges()
    assert again is not None
    assert int(again.removeprefix("bytes=").removesuffix("-")) > 0
    assert not list(artifacts.dataset_folder(dataset.id).glob(".archive*"))


def _kill_trainer(job_id: str) -> None:
    """The process that fetches is gone without a word."""
    for each in Path("/proc").glob("[0-9]*"):
        try:
            is_it = job_id in os.readlink(each / "fd" / "1")
        except OSError:
            continue
        if is_it:
            os.kill(int(each.name), signal.SIGKILL)
