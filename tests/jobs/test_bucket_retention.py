"""What goes from a bucket, and from the copies of it on one machine; and what never does."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import copies, records, retention, store
from jobs.artifacts import Artifacts
from jobs.bucket import Bucket
from jobs.bucket_store import BucketStore
from jobs.database import Database
from jobs.ids import new_dataset_id, new_job_id, new_model_id
from jobs.job import JobState, JobType
from jobs.orphan_objects import orphan_objects, strange_names
from jobs.removals import Kind
from jobs.restore import restore
from jobs.retention_limits import RetentionLimits
from tests.jobs import given
from tests.object_store import BUCKET, ObjectStoreServer, storing

LONG_AGO_S = 7 * 86400.0


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStoreServer]:
    with storing() as server:
        yield server


@pytest.fixture
def bucket(s3: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3.empty()
    return Bucket(f"s3://{BUCKET}", endpoint=s3.url)


@pytest.fixture
def artifacts(bucket: Bucket, tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", BucketStore(tmp_path / "artifacts", bucket))


def kept(artifacts: Artifacts, file: Path, *, size_bytes: int = 10, age_s: float = 0) -> Path:
    """The file is in the bucket and here, where it was last used so long ago."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size_bytes)
    artifacts.store.keep([file])
    os.utime(file, (time.time() - age_s, time.time() - age_s))
    return file


def names(artifacts: Artifacts, database: Database, *, grace_s: float = 0) -> list[str]:
    return sorted(each.name for each in orphan_objects(database, artifacts, grace_s=grace_s))


def test_objects_of_what_was_deleted_go_and_those_of_others_stay(
    database: Database, artifacts: Artifacts, bucket: Bucket
) -> None:
    job = given.job_in(database, JobState.RUNNING)
    ended = given.job_in(database, JobState.FAILED, JobType.LR_FIND)
    stay = [
        kept(artifacts, artifacts.attempt_folder(job.id, 1) / "checkpoint-5.pt"),
        kept(artifacts, artifacts.log_file(ended.id, 1)),
    ]
    gone, model = new_job_id(), new_model_id()
    go = [
        kept(artifacts, artifacts.log_file(gone, 1)).parents[1],
        kept(artifacts, artifacts.items_file(new_dataset_id())).parent,
        kept(artifacts, artifacts.attempt_folder(ended.id, 1) / "checkpoint-5.pt"),
        kept(artifacts, artifacts.attempt_folder(ended.id, 1) / "losses-0.npy"),
    ]
    # a training goes on that may yet write its row
    kept(artifacts, artifacts.model_file(model))

    # moto's clock has whole seconds
    assert names(artifacts, database, grace_s=3600) == []
    assert names(artifacts, database, grace_s=-2) == sorted(map(artifacts.relative, go))
    limits = RetentionLimits(orphan_grace_s=3600)
    removals = retention.Store(database, artifacts, limits)
    for removal in orphan_objects(database, artifacts, grace_s=-2):
        assert removal.kind == Kind.OBJECT
        assert retention.remove(removals, removal)
    left = {each.key for each in bucket.objects("")}
    assert left == {*map(artifacts.relative, stay), f"models/{model}.safetensors"}


def test_what_is_older_than_the_database_is_named_and_never_removed(
    database: Database, artifacts: Artifacts
) -> None:
    kept(artifacts, artifacts.log_file(new_job_id(), 1))
    old = kept(artifacts, artifacts.model_file(new_model_id()))
    given.job_in(database, JobState.SUCCEEDED)

    assert names(artifacts, database, grace_s=-2) == []
    assert artifacts.relative(old) in strange_names(database, artifacts)
    assert len(strange_names(database, artifacts)) == 2


def test_copies_go_by_last_use_and_only_those_that_the_bucket_has(
    database: Database, artifacts: Artifacts, bucket: Bucket
) -> None:
    newest = kept(artifacts, artifacts.model_file("mdl_3"), age_s=3600)
    middle = kept(artifacts, artifacts.model_file("mdl_2"), age_s=7200)
    oldest = kept(artifacts, artifacts.thumbnail("ds_1", "itm_1", 64), age_s=LONG_AGO_S)
    alone = kept(artifacts, artifacts.log_file("job_1", 1), age_s=LONG_AGO_S)
    bucket.delete([artifacts.relative(alone)])
    other = kept(artifacts, artifacts.upload_file("upl_1"), age_s=LONG_AGO_S)
    bucket.write(artifacts.relative(other), b"of another size")
    kept(artifacts, artifacts.model_file("mdl_4"))

    chosen = copies.superfluous(database, artifacts, most_bytes=25)
    assert {each.name for each in chosen} == {
        *map(artifacts.relative, (alone, other, middle)),
        "datasets/ds_1/thumbs",
    }
    is_gone = {each.name: copies.remove(artifacts, each.name) for each in chosen}

    assert is_gone[artifacts.relative(alone)] is is_gone[artifacts.relative(other)] is False
    assert [alone.exists(), other.exists(), newest.exists()] == [True, True, True]
    assert not oldest.exists()
    assert not middle.exists()
    assert artifacts.fetched(middle).stat().st_size == 10
    assert copies.superfluous(database, artifacts, most_bytes=1000) == []


def test_the_copies_of_a_job_in_hand_stay(database: Database, artifacts: Artifacts) -> None:
    job = given.job_in(database, JobState.RUNNING)
    kept(artifacts, artifacts.log_file(job.id, 1), age_s=LONG_AGO_S)
    photo = artifacts.photos_folder(str(job.dataset_id)) / "a.jpg"
    kept(artifacts, photo, age_s=LONG_AGO_S)

    chosen = copies.superfluous(database, artifacts, most_bytes=0)

    assert [each.name for each in chosen] == []
    assert job.dataset_id is not None


def test_a_folder_that_keeps_everything_has_neither(database: Database, tmp_path: Path) -> None:
    folder = Artifacts(tmp_path)
    file = folder.log_file(new_job_id(), 1)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")

    assert orphan_objects(database, folder, grace_s=-2) == []
    assert strange_names(database, folder) == []
    assert copies.superfluous(database, folder, most_bytes=0) == []
    assert copies.remove(folder, folder.relative(file)) is False
    assert file.exists()


def test_a_lost_database_is_built_again_from_the_bucket(
    database: Database, artifacts: Artifacts, tmp_path: Path
) -> None:
    job = given.job_in(database, JobState.FAILED)
    records.write_due(database, artifacts)
    seen = store.get(database, job.id)
    store.delete_job(database, job.id)
    assert isinstance(artifacts.store, BucketStore)
    elsewhere = Artifacts(tmp_path / "new", BucketStore(tmp_path / "new", artifacts.store.bucket))

    report = restore(database, elsewhere)

    assert (report.jobs, report.problems) == ([job.id], [])
    assert store.get(database, job.id) == seen
