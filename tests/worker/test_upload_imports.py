"""Imports of uploads on a real worker: the same photos make the same dataset, wherever from."""

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from jobs import datasets, store, uploads, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import DatasetSpec
from jobs.datasets import Dataset
from jobs.job import JobState
from jobs.settings import Settings
from jobs.sources.archives import format_of
from tests.archives import a_tar, a_zip, files_below, gzipped, of_each_format
from tests.worker.conftest import event_types, import_folder, wait_for
from tests.worker.photos import write_photos
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]

FOLDERS = {"labels": {"rule": "parent_folder"}, "split": {"rule": "folders"}}

RANDOM = {"rule": "random", "valid_fraction": 0.25, "seed": 1}


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, bytes]:
    """Contents of 16 tiny photos by their paths, in folders for parts and classes."""
    write_photos(tmp_path / "drawn", per_class=8)
    found = files_below(tmp_path / "drawn")
    return {f"{_part(name)}/{name.split('_')[0]}/{name}": found[name] for name in sorted(found)}


def _part(name: str) -> str:
    return "valid" if name.endswith(("_6.jpg", "_7.jpg")) else "train"


def wrapped(photos: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"pets/{name}": content for name, content in photos.items()}


def send(database: Database, artifacts: Artifacts, content: bytes) -> str:
    """An upload with this content."""
    arrived = artifacts.uploads_folder() / "arrived"
    arrived.parent.mkdir(parents=True, exist_ok=True)
    arrived.write_bytes(content)
    received = uploads.Received(
        filename=None,
        format=str(format_of(content[:512])),
        digest=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )
    upload_id = uploads.keep(database, artifacts, arrived, received)
    with database.write() as connection:
        uploads.add(connection, upload_id, received, owner="local")
    return upload_id


def register(database: Database, upload_id: str, **changes: Any) -> Dataset:  # noqa: ANN401
    source = {"type": "upload", "upload_id": upload_id}
    body = {"name": "pets", "source": source, **FOLDERS, **changes}
    with database.write() as connection:
        return datasets.register(connection, DatasetSpec.model_validate(body))


def ended(database: Database, dataset: Dataset) -> Dataset:
    wait_for(database, dataset.job_id, lambda job: job.is_terminal)
    return datasets.get(database, dataset.id)


def test_the_same_photos_make_the_same_dataset_from_any_archive_or_folder(
    database: Database, artifacts: Artifacts, quick: Settings, work: Work, photos: dict[str, bytes]
) -> None:
    folder = quick.dataset_roots[0] / "pets"
    for name, content in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    archives = [*of_each_format(wrapped(photos)).values(), a_zip(photos), a_zip(photos)]
    made = [register(database, send(database, artifacts, each)) for each in archives]
    otherwise = register(database, send(database, artifacts, a_zip(photos)), split=RANDOM)

    of_folder = import_folder(database, work, folder, **FOLDERS)
    found = [ended(database, each) for each in made]

    assert [each.error for each in (of_folder, *found)] == [None] * 7
    assert {each.digest for each in found} == {of_folder.digest}
    assert of_folder.counts == found[0].counts
    assert (found[0].counts or {})["valid"] == 4
    assert ended(database, otherwise).digest not in {None, of_folder.digest}


def test_an_import_tells_that_it_unpacks_and_what_it_left_out(
    database: Database, artifacts: Artifacts, work: Work, photos: dict[str, bytes]
) -> None:
    content = gzipped(a_tar({**wrapped(photos), "pets/a.csv": b"", "__MACOSX/._a.jpg": b""}))
    dataset = register(database, send(database, artifacts, content))

    work("prepare")
    dataset = ended(database, dataset)

    assert dataset.state == "ready", dataset.error
    assert dataset.report is not None
    assert dataset.report["left_out"] == [
        {"reason": "not_a_photo", "count": 1, "examples": ["pets/a.csv"]},
        {"reason": "hidden", "count": 1, "examples": ["__MACOSX/._a.jpg"]},
    ]
    assert files_below(artifacts.photos_folder(dataset.id)) == photos
    assert event_types(database, dataset.job_id).count("job.phase_changed") >= 2


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (a_zip()[:-40], "archive_invalid"),
        (a_zip(["../a.jpg"]), "archive_invalid"),
        (a_zip({"a.jpg": bytes(65 << 20)}), "archive_too_large"),
        (a_zip({"a.txt": b"", "b.zip": a_zip()}), "too_few_images"),
        (None, "source_unreachable"),
    ],
)
def test_an_archive_that_cannot_be_used_fails_the_import_with_its_reason(
    database: Database, artifacts: Artifacts, work: Work, content: bytes | None, code: str
) -> None:
    upload_id = send(database, artifacts, content or b"")
    dataset = register(database, upload_id)
    if content is None:
        artifacts.upload_file(upload_id).unlink()

    work("prepare")
    dataset = ended(database, dataset)

    assert dataset.state == "failed"
    assert dataset.error is not None
    assert dataset.error["code"] == code
    assert dataset.error["hint"]
    kept = artifacts.photos_folder(dataset.id)
    assert not kept.exists() or not files_below(kept)
    assert not list(artifacts.dataset_folder(dataset.id).glob("*.partial"))


def test_what_is_unpacked_needs_no_archive_any_more(
    database: Database, artifacts: Artifacts, work: Work, photos: dict[str, bytes]
) -> None:
    """An attempt that was interrupted behind the unpacking goes on from there."""
    upload_id = send(database, artifacts, a_zip(photos))
    dataset = register(database, upload_id)
    for name, content in photos.items():
        file = artifacts.photos_folder(dataset.id) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    artifacts.upload_file(upload_id).unlink()

    work("prepare")

    assert ended(database, dataset).state == "ready"


@pytest.fixture
def large(database: Database, artifacts: Artifacts, photos: dict[str, bytes]) -> Dataset:
    """A dataset whose unpacking takes a while: 20,000 photos that are none, and some."""
    more = {f"train/red/{number}.jpg": b"x" for number in range(20_000)}
    content = a_zip({**photos, **more})
    return register(database, send(database, artifacts, content), max_unreadable_fraction=1.0)


def test_a_cancelled_import_leaves_no_photo(
    database: Database, artifacts: Artifacts, work: Work, large: Dataset
) -> None:
    work("prepare")
    wait_for(database, large.job_id, lambda job: job.phase == "unpacking")

    verbs.cancel(database, large.job_id)

    assert ended(database, large).state == "failed"
    assert store.get(database, large.job_id).state == JobState.CANCELLED
    left = [each.name for each in artifacts.dataset_folder(large.id).glob("*")]
    assert not [name for name in left if name.endswith(".partial")]


@pytest.mark.slow
def test_an_import_that_was_interrupted_while_unpacking_ends_on_another_worker(
    database: Database, artifacts: Artifacts, work: Work, large: Dataset
) -> None:
    first = work("prepare")
    wait_for(database, large.job_id, lambda job: job.phase == "unpacking")
    first.drain()
    wait_for(database, large.job_id, lambda job: job.state == JobState.QUEUED or job.is_terminal)

    work("prepare")

    dataset = ended(database, large)
    assert dataset.state == "ready", dataset.error
    assert (dataset.counts or {})["files"] == 20_016
    assert (dataset.counts or {})["usable"] == 16


def test_photos_of_an_upload_go_with_their_dataset_and_not_with_the_upload(
    database: Database, artifacts: Artifacts, work: Work, photos: dict[str, bytes]
) -> None:
    upload_id = send(database, artifacts, a_zip(photos))
    dataset = register(database, upload_id)
    work("prepare")
    dataset = ended(database, dataset)

    uploads.delete_upload(database, artifacts, upload_id)

    assert files_below(artifacts.photos_folder(dataset.id)) == photos
    assert not artifacts.upload_file(upload_id).exists()


def test_a_real_zip_of_the_command_line_is_read(
    database: Database,
    artifacts: Artifacts,
    tmp_path: Path,
    work: Work,
    photos: dict[str, bytes],
) -> None:
    """With entries for folders, and the sizes behind the contents, as streams are packed."""
    for name, content in photos.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(content)
    packed = shutil.make_archive(str(tmp_path / "out"), "zip", tmp_path, "in")
    with zipfile.ZipFile(packed) as archive:
        assert any(each.is_dir() for each in archive.infolist())
    dataset = register(database, send(database, artifacts, Path(packed).read_bytes()))

    work("prepare")

    assert ended(database, dataset).state == "ready"
    os.unlink(packed)
