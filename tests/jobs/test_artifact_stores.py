"""What every store of artifacts does, folder or bucket; and what a bucket does besides."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from jobs.artifacts import Artifacts, sha256_of
from jobs.bucket import Bucket
from jobs.bucket_store import BucketStore
from jobs.settings_error import SettingsError
from tests.object_store import BUCKET, ObjectStoreServer, storing

Machine = Callable[[str], Artifacts]
"""The artifacts as another machine sees them, by its name."""


@pytest.fixture(scope="module")
def s3() -> Iterator[ObjectStoreServer]:
    with storing() as server:
        yield server


@pytest.fixture
def bucket(s3: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, which asks for no particular credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "some")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    s3.empty()
    return Bucket(f"s3://{BUCKET}/tunesmith", endpoint=s3.url)


@pytest.fixture
def memory(tmp_path: Path) -> Bucket:
    """A store of another protocol, which lives in this process."""
    return Bucket(f"memory://{tmp_path.name}/tunesmith")


@pytest.fixture(params=["folder", "bucket", "memory"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """Machines share a folder, or have one each and a bucket."""
    if request.param == "folder":
        return lambda _: Artifacts(tmp_path / "shared")
    shared: Bucket = request.getfixturevalue(request.param)
    return lambda name: Artifacts(tmp_path / name, BucketStore(tmp_path / name, shared))


@pytest.fixture
def one(machine: Machine) -> Artifacts:
    return machine("one")


@pytest.fixture
def other(machine: Machine) -> Artifacts:
    return machine("other")


def made(file: Path, content: bytes = b"bytes") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_what_one_machine_keeps_the_other_fetches(one: Artifacts, other: Artifacts) -> None:
    file = made(one.model_file("mdl_1"), b"weights")
    # a name that libraries could take for a pattern or a query
    strange = made(one.photos_folder("ds_1") / "a[1]*?{b}" / "ü %41+.jpg", b"photo")
    one.store.keep([file, strange])

    there = other.fetched(other.model_file("mdl_1"), digest=sha256_of(file))
    other.store.fetch([other.photos_folder("ds_1") / strange.relative_to(strange.parents[1])])

    assert there.read_bytes() == b"weights"
    photos = [each for each in other.photos_folder("ds_1").rglob("*") if each.is_file()]
    assert [each.read_bytes() for each in photos] == [b"photo"]
    one.store.check()
    other.store.check()


def test_what_is_nowhere_is_not_there_after_fetching(one: Artifacts) -> None:
    there = made(one.upload_file("upl_1"))
    one.store.keep([there])

    one.store.fetch([one.upload_file("upl_2"), there, one.upload_file("upl_3")])

    assert not one.upload_file("upl_2").exists()
    assert there.exists()
    assert one.store.size_bytes(one.upload_file("upl_2")) is None
    with pytest.raises(FileNotFoundError):
        one.store.read(one.record_file("job_1"))


def test_a_part_of_a_file_can_be_read(one: Artifacts, other: Artifacts) -> None:
    file = made(one.log_file("job_1", 1), bytes(range(200)))
    one.store.keep([file])
    elsewhere = other.log_file("job_1", 1)

    assert other.store.size_bytes(elsewhere) == 200
    assert b"".join(other.store.chunks(elsewhere, 20, 150)) == bytes(range(20, 150))
    assert b"".join(other.store.chunks(elsewhere, 150, 200)) == bytes(range(150, 200))


def test_what_is_written_again_is_new_for_everybody(one: Artifacts, other: Artifacts) -> None:
    one.store.write(one.record_file("job_1"), b"old")
    assert other.store.read(other.record_file("job_1")) == b"old"
    other.store.write(other.record_file("job_1"), b"new")

    assert one.store.read(one.record_file("job_1")) == b"new"


def test_files_are_found_by_their_names(one: Artifacts, other: Artifacts) -> None:
    folder = one.root / "models"
    kept = [made(folder / name) for name in ("mdl_1.a.onnx", "mdl_1.safetensors", "mdl_12.b.onnx")]
    kept.append(made(folder / "mdl_1.deep" / "x.onnx", b"x"))
    one.store.keep(kept)
    models = other.root / "models"

    assert other.store.found(models, "mdl_1.*.onnx") == {models / "mdl_1.a.onnx": 5}
    assert other.store.found(models, "*/x.onnx") == {models / "mdl_1.deep" / "x.onnx": 1}
    assert len(other.store.found(models, "**/*")) == 4
    assert other.store.found(other.root / "nowhere", "*") == {}
    names = ["mdl_1.a.onnx", "mdl_1.deep", "mdl_1.safetensors", "mdl_12.b.onnx"]
    assert other.store.names(models) == names
    assert other.store.names(other.root / "nowhere") == []


def test_what_is_removed_is_nowhere_and_its_neighbours_stay(
    one: Artifacts, other: Artifacts
) -> None:
    gone, stays = made(one.upload_file("upl_1")), made(one.upload_file("upl_12"))
    one.store.keep([gone, stays])
    one.remove(gone)
    one.remove(gone)

    assert not gone.exists()
    assert not other.fetched(other.upload_file("upl_1")).exists()
    assert other.fetched(other.upload_file("upl_12")).exists()


# --- a bucket -------------------------------------------------------------------------------


@pytest.fixture
def mine(bucket: Bucket, tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "mine", BucketStore(tmp_path / "mine", bucket))


def test_a_folder_is_forgotten_with_all_that_lies_in_it(mine: Artifacts, bucket: Bucket) -> None:
    files = [made(mine.thumbnail("ds_1", f"itm_[{number}]", 64)) for number in range(3)]
    mine.store.keep([*files, made(mine.items_file("ds_12"))])

    mine.store.forget(mine.dataset_folder("ds_1"))

    assert [each.key for each in bucket.objects("")] == ["datasets/ds_12/items.parquet"]


def test_a_copy_with_other_bytes_than_were_recorded_is_not_taken(
    mine: Artifacts, bucket: Bucket
) -> None:
    bucket.write("models/mdl_1.safetensors", b"damaged")

    with pytest.raises(OSError, match="SHA-256") as raised:
        mine.fetched(mine.model_file("mdl_1"), digest="0" * 64)

    assert raised.value.errno == errno.EIO
    assert not mine.model_file("mdl_1").exists()


def test_nothing_is_half_there_when_a_copy_breaks_off(mine: Artifacts, bucket: Bucket) -> None:
    bucket.write("models/mdl_1.safetensors", b"whole")

    with pytest.raises(FileNotFoundError):
        bucket.download(
            [
                ("models/mdl_1.safetensors", made(mine.root / "models" / "one")),
                ("models/mdl_2.safetensors", mine.root / "models" / "two"),
            ]
        )

    assert [each.name for each in (mine.root / "models").iterdir()] == ["one"]
    assert (mine.root / "models" / "one").read_bytes() == b"bytes"


def test_a_signed_address_gives_the_file_under_its_name(mine: Artifacts) -> None:
    mine.store.keep([made(mine.model_file("mdl_1"), b"weights")])

    url = mine.store.link(mine.model_file("mdl_1"), name="my.safetensors", media_type="x/y")

    assert url is not None
    with httpx.Client(trust_env=False) as client:
        answer = client.get(url, headers={"Range": "bytes=2-4"})
    assert (answer.status_code, answer.content) == (206, b"igh")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="my.safetensors"'
    assert answer.headers["Content-Type"] == "x/y"


def test_clients_are_not_led_away_where_the_settings_say_so(bucket: Bucket, tmp_path: Path) -> None:
    store = BucketStore(tmp_path, bucket, links=False)

    assert store.link(tmp_path / "models" / "x", name="x", media_type="x/y") is None


def test_a_bucket_that_does_not_exist_is_named_with_the_setting(
    s3: ObjectStoreServer, bucket: Bucket
) -> None:
    wrong = Bucket("s3://nowhere/x", endpoint=s3.url)

    with pytest.raises(SettingsError, match=r"TUNESMITH_ARTIFACT_STORE.*s3://nowhere/x"):
        wrong.check()


def test_missing_credentials_are_told_without_showing_any(
    s3: ObjectStoreServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(SettingsError, match=r"credentials.*AWS_ACCESS_KEY_ID"):
        Bucket(f"s3://{BUCKET}", endpoint=s3.url).check()


def test_a_store_that_does_not_answer_may_do_so_later(bucket: Bucket, tmp_path: Path) -> None:
    away = BucketStore(tmp_path, Bucket("s3://photos", endpoint="http://127.0.0.1:9"))

    with pytest.raises(OSError, match="does not answer") as raised:
        away.keep([made(tmp_path / "models" / "mdl_1.safetensors")])

    assert raised.value.errno == errno.EHOSTUNREACH
    assert str(raised.value.filename) == "s3://photos"


def test_who_is_patient_asks_again_until_it_answers(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [OSError(errno.EHOSTUNREACH, "away"), OSError(errno.EHOSTUNREACH, "away"), None]

    def upload(_: object) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(bucket, "upload", upload)
    BucketStore(tmp_path, bucket, patience_s=60).keep([tmp_path / "x"])

    assert answers == []


def test_a_protocol_without_its_package_is_named() -> None:
    with pytest.raises(SettingsError, match=r"TUNESMITH_ARTIFACT_STORE: nothing://.*package"):
        Bucket("nothing://bucket").check()
