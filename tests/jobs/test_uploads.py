"""Uploads in the database and in the artifact store, on every kind of database."""

import os
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from jobs import datasets, retention, tables, uploads, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import UploadSource
from jobs.errors import NotFoundError, UploadInUseError
from jobs.ids import new_upload_id
from jobs.removals import Kind
from jobs.settings import Settings
from jobs.uploads import Received, Upload
from tests.jobs import given

DAY_S = 86400.0


def sent(
    database: Database, artifacts: Artifacts, content: bytes = b"bytes", owner: str = "local"
) -> Upload:
    """An upload with this content, whose digest is made up."""
    arrived = artifacts.uploads_folder() / "arrived"
    arrived.parent.mkdir(parents=True, exist_ok=True)
    arrived.write_bytes(content)
    received = Received(
        filename="a.zip", format="zip", digest=content.hex(), size_bytes=len(content)
    )
    upload_id = uploads.keep(database, artifacts, arrived, received)
    assert not arrived.exists()
    with database.write() as connection:
        return uploads.add(connection, upload_id, received, owner=owner)


def aged(database: Database, artifacts: Artifacts, upload: Upload) -> Upload:
    """The upload as if it had not been used for thirty days."""
    with database.write() as connection:
        old_ms = upload.used_ms - int(30 * DAY_S * 1000)
        connection.execute(
            update(tables.uploads).where(tables.uploads.c.id == upload.id).values(used_ms=old_ms)
        )
    return upload


def importing(database: Database, upload: Upload) -> datasets.Dataset:
    return given.a_dataset(database, source=UploadSource(type="upload", upload_id=upload.id))


def files(artifacts: Artifacts) -> set[Path]:
    return set(artifacts.uploads_folder().iterdir())


def test_equal_bytes_of_different_owners_are_one_file_with_two_names(
    database: Database, artifacts: Artifacts
) -> None:
    first, second = (sent(database, artifacts, owner=owner) for owner in ("ana", "ben"))
    other = sent(database, artifacts, b"other")

    inodes = [os.stat(artifacts.upload_file(each.id)).st_ino for each in (first, second, other)]
    assert inodes[0] == inodes[1] != inodes[2]
    listed = uploads.list_uploads(database, after=None, limit=10, owner="ana")
    assert listed == [first]

    uploads.delete_upload(database, artifacts, first.id)
    assert artifacts.upload_file(second.id).read_bytes() == b"bytes"


def test_bytes_whose_known_file_is_gone_are_kept_themselves(
    database: Database, artifacts: Artifacts
) -> None:
    """As when the other upload is deleted at this very moment."""
    artifacts.upload_file(sent(database, artifacts).id).unlink()

    again = sent(database, artifacts)

    assert artifacts.upload_file(again.id).read_bytes() == b"bytes"


def test_an_upload_that_is_imported_cannot_go(database: Database, artifacts: Artifacts) -> None:
    upload = sent(database, artifacts)
    dataset = importing(database, upload)

    with pytest.raises(UploadInUseError, match=dataset.id):
        uploads.delete_upload(database, artifacts, upload.id)

    verbs.cancel(database, dataset.job_id)
    uploads.delete_upload(database, artifacts, upload.id)
    assert files(artifacts) == set()
    with pytest.raises(NotFoundError):
        uploads.get(database, upload.id)


def test_no_dataset_is_registered_with_an_upload_that_is_gone(
    database: Database, artifacts: Artifacts
) -> None:
    upload = sent(database, artifacts)
    uploads.delete_upload(database, artifacts, upload.id)

    with pytest.raises(NotFoundError):
        importing(database, upload)
    assert datasets.list_datasets(database, after=None, limit=10) == []


def test_an_unused_upload_is_removed_and_one_that_is_used_stays(
    database: Database, artifacts: Artifacts, settings: Settings
) -> None:
    store = retention.Store(database, artifacts, settings)
    young = sent(database, artifacts, b"1")
    old, imported, used_again = (
        aged(database, artifacts, sent(database, artifacts, content))
        for content in (b"2", b"3", b"4")
    )
    importing(database, imported)
    aged(database, artifacts, imported)
    planned = retention.plan(store)
    assert {(each.kind, each.name) for each in planned} == {
        (Kind.UPLOAD, old.id),
        (Kind.UPLOAD, used_again.id),
    }
    with database.write() as connection:
        uploads.use(connection, used_again.id)

    assert [retention.remove(store, each) for each in planned].count(True) == 1

    kept = {artifacts.upload_file(each.id) for each in (young, imported, used_again)}
    assert files(artifacts) == kept


def test_what_a_killed_process_left_of_an_upload_is_removed(
    database: Database, artifacts: Artifacts, settings: Settings
) -> None:
    kept = artifacts.upload_file(sent(database, artifacts).id)
    given.a_job(database)
    left = [artifacts.upload_file(new_upload_id()), kept.with_name(f".{new_upload_id()}.partial")]
    for file in (kept, *left):
        file.write_bytes(b"half")
        os.utime(file, (time.time() - 2 * DAY_S,) * 2)

    removed = list(retention.collect(retention.Store(database, artifacts, settings)))

    assert {each.name for each in removed} == {artifacts.relative(file) for file in left}
    assert files(artifacts) == {kept}


@pytest.mark.parametrize(
    ("state", "gone"),
    [("importing", set()), ("ready", {"partial"}), ("failed", {"partial", "files"})],
)
def test_photos_that_nobody_will_read_are_removed(
    database: Database, artifacts: Artifacts, settings: Settings, state: str, gone: set[str]
) -> None:
    dataset = given.a_dataset(database)
    photos = artifacts.photos_folder(dataset.id)
    found = {"files": photos, "partial": photos.with_name(".files-3.partial")}
    for folder in found.values():
        folder.mkdir(parents=True)
        (folder / "a.jpg").write_bytes(b"a")
        for each in (folder / "a.jpg", folder):
            os.utime(each, (time.time() - 2 * DAY_S,) * 2)
    with database.write() as connection:
        connection.execute(
            update(tables.datasets).where(tables.datasets.c.id == dataset.id).values(state=state)
        )

    list(retention.collect(retention.Store(database, artifacts, settings)))

    assert {name for name, folder in found.items() if not folder.exists()} == gone
