"""One finished job as one file, and back."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from jobs import job_archive, records, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import ArchiveInvalidError, ResultNotReadyError
from jobs.job import JobState
from jobs.restore import restore
from tests.jobs import given
from tests.jobs.test_records import a_ready_dataset
from tests.jobs.test_restore import a_trained_job

LOG = b"epoch 1\n"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Artifacts:
    """Another, empty artifact store."""
    return Artifacts(tmp_path / "elsewhere")


@pytest.fixture
def job_id(database: Database, artifacts: Artifacts) -> str:
    """A finished fine-tune with a log and a model."""
    job_id = a_trained_job(database, artifacts)
    log = artifacts.log_file(job_id, 1)
    log.parent.mkdir(parents=True)
    log.write_bytes(LOG)
    return job_id


@pytest.fixture
def archive(database: Database, artifacts: Artifacts, job_id: str, tmp_path: Path) -> Path:
    """That job's archive."""
    job_archive.export(database, artifacts, job_id, tmp_path / "job.tar.gz")
    return tmp_path / "job.tar.gz"


def test_an_archive_brings_the_files_and_the_record_to_another_store(
    archive: Path, job_id: str, elsewhere: Artifacts
) -> None:
    assert job_archive.unpack(archive, elsewhere) == [job_id]

    assert elsewhere.log_file(job_id, 1).read_bytes() == LOG
    assert elsewhere.model_file("mdl_1").read_bytes() == b"weights"
    assert elsewhere.record_file(job_id).exists()
    assert not list(elsewhere.root.glob(".restore-*"))


def test_an_archive_can_be_restored_where_the_job_was_deleted(
    database: Database, archive: Path, job_id: str, elsewhere: Artifacts
) -> None:
    seen = store.get(database, job_id)
    store.delete_job(database, job_id)

    restore(database, elsewhere, only=job_archive.unpack(archive, elsewhere))

    assert store.get(database, job_id) == seen


def test_the_sums_are_those_of_the_members(archive: Path) -> None:
    with tarfile.open(archive) as members:
        contents = {}
        for name in members.getnames():
            stream = members.extractfile(name)
            assert stream is not None
            contents[name] = stream.read()

    sums = contents.pop("SHA256SUMS").decode()
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in contents.items()]
    assert sorted(sums.splitlines()) == sorted(lines)


def test_the_archive_of_an_import_has_its_dataset(
    database: Database, artifacts: Artifacts, elsewhere: Artifacts, tmp_path: Path
) -> None:
    dataset = a_ready_dataset(database)
    items = artifacts.items_file(dataset.id)
    items.parent.mkdir(parents=True)
    items.write_bytes(b"items")

    job_archive.export(database, artifacts, dataset.job_id, tmp_path / "import.tar.gz")
    job_archive.unpack(tmp_path / "import.tar.gz", elsewhere)

    assert elsewhere.items_file(dataset.id).read_bytes() == b"items"


def test_a_job_that_goes_on_is_not_archived(
    database: Database, artifacts: Artifacts, tmp_path: Path
) -> None:
    job = given.job_in(database, JobState.RUNNING)

    with pytest.raises(ResultNotReadyError, match="running"):
        job_archive.export(database, artifacts, job.id, tmp_path / "job.tar.gz")

    assert not (tmp_path / "job.tar.gz").exists()


def test_a_damaged_model_is_not_archived(
    database: Database, artifacts: Artifacts, job_id: str, tmp_path: Path
) -> None:
    artifacts.model_file("mdl_1").write_bytes(b"WEIGHTS")

    with pytest.raises(ArchiveInvalidError, match=r"mdl_1\.safetensors does not have the SHA-256"):
        job_archive.export(database, artifacts, job_id, tmp_path / "job.tar.gz")

    assert not list(tmp_path.glob("*job.tar.gz*"))


def test_files_that_the_store_has_are_kept(archive: Path, elsewhere: Artifacts) -> None:
    mine = elsewhere.model_file("mdl_1")
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")

    job_archive.unpack(archive, elsewhere)

    assert mine.read_bytes() == b"mine"


def test_half_an_archive_leaves_nothing(archive: Path, elsewhere: Artifacts) -> None:
    archive.write_bytes(archive.read_bytes()[:-40])

    with pytest.raises(ArchiveInvalidError):
        job_archive.unpack(archive, elsewhere)

    assert list(elsewhere.root.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("jobs/job_1/../../../stolen", "unlike ours"),
        ("/jobs/job_1/absolute", "unlike ours"),
        ("jobs/other/file", "unlike ours"),
        ("jobs/job_1/unlisted", "other members than its SHA256SUMS"),
    ],
)
def test_an_archive_of_other_hands_is_refused(
    tmp_path: Path, elsewhere: Artifacts, name: str, reason: str
) -> None:
    with tarfile.open(tmp_path / "forged.tar.gz", "w:gz") as forged:
        forged.addfile(tarfile.TarInfo(name), io.BytesIO())
        forged.addfile(tarfile.TarInfo("SHA256SUMS"), io.BytesIO())

    with pytest.raises(ArchiveInvalidError, match=reason):
        job_archive.unpack(tmp_path / "forged.tar.gz", elsewhere)

    assert not (tmp_path / "stolen").exists()
    assert list(elsewhere.root.iterdir()) == []


def test_a_member_with_other_bytes_is_named(tmp_path: Path, elsewhere: Artifacts) -> None:
    sums = f"{'0' * 64}  jobs/job_1/log.txt\n".encode()
    with tarfile.open(tmp_path / "forged.tar.gz", "w:gz") as forged:
        for name, content in (("jobs/job_1/log.txt", b"x"), ("SHA256SUMS", sums)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            forged.addfile(member, io.BytesIO(content))

    with pytest.raises(ArchiveInvalidError, match=r"log\.txt .* is damaged"):
        job_archive.unpack(tmp_path / "forged.tar.gz", elsewhere)


def test_no_archive_at_all_is_named(tmp_path: Path, elsewhere: Artifacts) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no archive")

    with pytest.raises(ArchiveInvalidError, match=r"photo\.jpg cannot be read"):
        job_archive.unpack(tmp_path / "photo.jpg", elsewhere)


def test_the_record_in_the_archive_is_the_one_of_the_file(
    database: Database, artifacts: Artifacts, archive: Path, job_id: str, elsewhere: Artifacts
) -> None:
    records.write_due(database, artifacts)
    job_archive.unpack(archive, elsewhere)

    written = artifacts.record_file(job_id).read_bytes()
    assert elsewhere.record_file(job_id).read_bytes() == written
