"""Imports from an object store on a real worker: an archive, and photos below a prefix."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs import datasets, store, uploads, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.job import JobState
from jobs.settings import Settings
from tests.archives import a_tar as tar_of
from tests.archives import a_zip, files_below, gzipped
from tests.object_store import ObjectStoreServer, storing
from tests.web_server import Handler, WebServer, serving, status
from tests.worker.conftest import import_folder, wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
Register = Callable[..., Dataset]
Point = Callable[[str], None]

LABELS = {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"}
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStoreServer]:
    with storing() as server:
        yield server


@pytest.fixture
def point(object_store_config: Path) -> Iterator[Point]:
    """Trainers take this address for that of their object store."""

    def to(url: str) -> None:
        object_store_config.write_text(
            "[default]\nregion = us-east-1\naws_access_key_id = some\n"
            f"aws_secret_access_key = secret\nendpoint_url = {url}\nmax_attempts = 1\n"
        )

    yield to
    object_store_config.unlink(missing_ok=True)


@pytest.fixture
def bucket(s3: ObjectStoreServer, point: Point) -> ObjectStoreServer:
    """An empty bucket, which trainers find."""
    s3.empty()
    point(s3.url)
    return s3


@pytest.fixture
def quick(quick: Settings) -> Settings:
    """Settings that allow the bucket but for a part of it, and wait for nothing."""
    roots = ("s3://photos/pets", "s3://photos/archives", "s3://nowhere")
    return quick.model_copy(update={"remote_roots": roots, "io_pause_s": 0.0})


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, bytes]:
    """Contents of 16 tiny photos by their names."""
    write_photos(tmp_path / "drawn", per_class=8)
    return files_below(tmp_path / "drawn")


@pytest.fixture
def register(database: Database) -> Register:
    """Registers a dataset of an address in the object store."""

    def run(url: str, **changes: object) -> Dataset:
        body = {"name": "pets", "source": {"type": "s3", "url": url}, "labels": LABELS, **changes}
        with database.write() as connection:
            return datasets.register(connection, DatasetSpec.model_validate(body))

    return run


def ended(database: Database, dataset: Dataset) -> Dataset:
    wait_for(database, dataset.job_id, lambda job: job.is_terminal)
    return datasets.get(database, dataset.id)


def test_a_prefix_makes_the_same_dataset_as_the_folder(
    database: Database,
    artifacts: Artifacts,
    quick: Settings,
    work: Work,
    bucket: ObjectStoreServer,
    register: Register,
    photos: dict[str, bytes],
) -> None:
    folder = quick.dataset_roots[0] / "pets"
    write_photos(folder, per_class=8)
    bucket.put({f"pets/{name}": content for name, content in photos.items()})
    bucket.put({"pets/labels.csv": b"x", "pets/.cache/a_1.jpg": b"x", "petsitter/a_1.jpg": b"x"})

    copied = register("s3://photos/pets/")
    of_folder = import_folder(database, work, folder, split={"rule": "random"})
    copied = ended(database, copied)

    assert copied.error is None
    assert copied.digest == of_folder.digest
    assert files_below(artifacts.photos_folder(copied.id)) == photos
    assert copied.report is not None
    assert {each["reason"]: each["count"] for each in copied.report["left_out"]} == {
        "not_a_photo": 1,
        "hidden": 1,
    }
    kept = {each.name for each in artifacts.dataset_folder(copied.id).iterdir()}
    assert kept == {"files", "items.parquet", "thumbs", "unpacked.json"}


def test_a_csv_file_below_a_prefix_labels_its_photos(
    database: Database,
    work: Work,
    bucket: ObjectStoreServer,
    register: Register,
    photos: dict[str, bytes],
) -> None:
    rows = [f"{name},{'even' if number % 2 else 'odd'}" for number, name in enumerate(photos)]
    bucket.put({f"pets/{name}": content for name, content in photos.items()})
    bucket.put({"pets/labels.csv": "\n".join(["path,label", *rows]).encode()})
    rule = {"rule": "csv", "file": "labels.csv"}

    made = register("s3://photos/pets/", labels=rule)
    work("prepare")
    made = ended(database, made)

    assert made.error is None
    assert made.classes == [{"label": "even", "count": 8}, {"label": "odd", "count": 8}]


@pytest.mark.parametrize("name", ["pets.zip", "my pets+1.TAR.GZ"])
def test_an_archive_is_fetched_and_kept_as_an_upload(
    database: Database,
    artifacts: Artifacts,
    work: Work,
    bucket: ObjectStoreServer,
    register: Register,
    photos: dict[str, bytes],
    name: str,
) -> None:
    content = a_zip(photos) if name.endswith("zip") else gzipped(tar_of(photos))
    bucket.put({f"archives/{name.replace('+', '%2B')}": content})

    made = register(f"s3://photos/archives/{name}")
    # nobody rings here: what the worker looks for is there before it looks
    work("prepare")
    dataset = ended(database, made)

    assert dataset.error is None
    assert files_below(artifacts.photos_folder(dataset.id)) == photos
    (upload,) = uploads.list_uploads(database, after=None, limit=9)
    assert (upload.filename, upload.size_bytes) == (name, len(content))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("s3://photos/pets/none.zip", "source_unreachable"),
        ("s3://nowhere/pets.zip", "source_unreachable"),
        ("s3://nowhere", "source_unreachable"),
        ("s3://photos/pets/none", "source_unreachable"),
        ("s3://photos/private/pets", "source_forbidden"),
        ("s3://photos", "source_forbidden"),
        ("s3://photos/pets/page.zip", "archive_invalid"),
        ("s3://photos/pets/texts", "too_few_images"),
        ("s3://photos/pets/odd", "archive_invalid"),
    ],
)
def test_what_cannot_be_used_fails_the_import_with_its_reason(
    database: Database,
    artifacts: Artifacts,
    work: Work,
    bucket: ObjectStoreServer,
    register: Register,
    url: str,
    code: str,
) -> None:
    bucket.put({"pets/page.zip": b"<html>" * 999, "pets/texts/a.txt": b"a"})
    # a file and a folder of one name
    bucket.put({"pets/odd/a_1.jpg": b"a", "pets/odd/a_1.jpg/b_1.jpg": b"b"})

    made = register(url)
    # nobody rings here: what the worker looks for is there before it looks
    work("prepare")
    dataset = ended(database, made)

    assert dataset.error is not None
    assert dataset.error["code"] == code, dataset.error
    assert dataset.error["hint"]
    assert set(files_below(artifacts.dataset_folder(dataset.id))) <= {"unpacked.json"}


@pytest.fixture
def odd_store(point: Point) -> Iterator[WebServer]:
    """A server that trainers take for their object store."""
    with serving() as server:
        point(f"http://127.0.0.1:{server.port}")
        yield server


@pytest.mark.parametrize("url", ["s3://photos/pets", "s3://photos/pets/a.zip"])
def test_credentials_that_may_not_read_are_named(
    database: Database, work: Work, odd_store: WebServer, register: Register, url: str
) -> None:
    denied = status(403, DENIED, Content_Type="application/xml")
    odd_store.answers |= {"/photos": denied, "/photos/pets": denied, "/photos/pets/a.zip": denied}

    made = register(url)
    # nobody rings here: what the worker looks for is there before it looks
    work("prepare")
    dataset = ended(database, made)

    assert dataset.error is not None
    assert dataset.error["code"] == "source_unreachable"
    assert "with the worker's credentials" in dataset.error["message"]
    assert odd_store.asked


@pytest.mark.parametrize("url", ["s3://photos/pets", "s3://photos/pets/a.zip"])
def test_a_cancelled_import_leaves_nothing_although_its_store_says_nothing(
    database: Database,
    artifacts: Artifacts,
    work: Work,
    odd_store: WebServer,
    register: Register,
    url: str,
) -> None:
    def silent(_: Handler) -> None:
        odd_store.over.wait()

    odd_store.answers = {path: silent for path in ("/photos", "/photos/pets/a.zip")}
    dataset = register(url)
    work("prepare")
    wait_for(database, dataset.job_id, lambda _: bool(odd_store.asked))

    verbs.cancel(database, dataset.job_id)

    wait_for(database, dataset.job_id, lambda job: job.is_terminal, within_s=10)
    assert store.get(database, dataset.job_id).state == JobState.CANCELLED
    assert files_below(artifacts.dataset_folder(dataset.id)) == {}
