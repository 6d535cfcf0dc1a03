"""Object stores that break off, change and have odd names; any that fsspec opens is read alike."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jobs.back_off import BackOff
from jobs.errors import (
    ArchiveTooLargeError,
    DiskFullError,
    SourceInterruptedError,
    SourceUnreachableError,
)
from jobs.source_limits import SourceLimits
from jobs.sources.object_places import Place, place_of
from tests.archives import a_tar, files_below
from worker.copying import Copying
from worker.downloading import download_object
from worker.failures import JobFailedError
from worker.object_store import ObjectStore
from worker.partial_file import PartialFile
from worker.transfer import Transfer

PREFIX = place_of("gs", "gs://bucket/pets", ["gs://bucket"])
PHOTOS = {f"{kind}/{n}.jpg": f"{kind}{n}".encode() for kind in ("cat", "dog") for n in range(100)}
SIZE = sum(map(len, PHOTOS.values()))


class Store(MemoryFileSystem):  # type: ignore[misc]  # the library has no types
    """A store in memory whose objects have versions; ``patience`` is how often it answers."""

    store: dict[str, Any] = {}  # noqa: RUF012 - of the library's own class, too
    pseudo_dirs: list[str] = [""]  # noqa: RUF012
    versions: dict[str, int] = {}  # noqa: RUF012
    copied: list[str] = []  # noqa: RUF012
    patience = 1_000_000

    def _answer(self) -> None:
        if Store.patience == 0:
            raise ConnectionResetError(104, "Connection reset by peer")
        Store.patience -= 1

    def ls(self, path: str, detail: bool = True, **further: Any) -> Any:  # noqa: ANN401
        found = super().ls(path, detail=True, **further)
        for info in found:
            info["name"] = info["name"].lstrip("/")
            info["etag"] = f"v{self.versions.get(info['name'], 1)}"
        return found if detail else [info["name"] for info in found]

    def info(self, path: str, **further: Any) -> dict[str, Any]:  # noqa: ANN401
        name = self._strip_protocol(path).lstrip("/")
        found: dict[str, Any] = super().info(path, **further)
        return {**found, "name": name, "etag": f"v{self.versions.get(name, 1)}"}

    def get(self, rpath: Sequence[str], lpath: Sequence[str], **_: Any) -> None:  # noqa: ANN401
        for one, other in zip(rpath, lpath, strict=True):
            self._answer()
            Path(other).write_bytes(self.cat_file(one))
            self.copied.append(one)


@pytest.fixture
def stored() -> Iterator[Callable[[dict[str, bytes]], None]]:
    """Puts objects below the prefix of a fresh store."""
    known = fsspec.registry.get("gs")
    fsspec.register_implementation("gs", Store, clobber=True)
    Store.store, Store.pseudo_dirs = {}, [""]
    Store.versions, Store.copied, Store.patience = {}, [], 1_000_000

    def put(contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            Store().pipe_file(f"/bucket/pets/{name}", content)

    yield put
    if known is not None:
        fsspec.register_implementation("gs", known, clobber=True)


def copying(folder: Path, fence: int = 1, **limits: Any) -> Copying:  # noqa: ANN401
    folder.mkdir(exist_ok=True)
    return Copying(
        PREFIX,
        beside=folder / "files",
        fence=fence,
        limits=SourceLimits().model_copy(update=limits),
    )


def come(folder: Path, fence: int = 1) -> dict[str, bytes]:
    return files_below(folder / f".files-copying-{fence}.partial")


def test_every_photo_below_the_prefix_is_copied(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path
) -> None:
    stored({**PHOTOS, "labels.csv": b"x", ".hidden/1.jpg": b"x"})
    transfer = Transfer()

    copies = copying(tmp_path)
    copies.take(transfer)

    assert come(tmp_path) == PHOTOS
    assert (transfer.step, transfer.steps) == (200, 200)
    assert (transfer.bytes, transfer.total_bytes) == (SIZE, SIZE)
    assert {each.reason for each in copies.left_out} == {"hidden", "not_a_photo"}


def test_the_next_attempt_copies_only_what_is_missing(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path
) -> None:
    stored(PHOTOS)
    Store.patience = 150
    with pytest.raises(SourceInterruptedError, match="Connection reset by peer"):
        copying(tmp_path, 1).take(Transfer())
    # two batches of 64 were whole
    assert len(come(tmp_path)) == 128

    Store.patience, Store.copied = 1_000_000, []
    copying(tmp_path, 2).take(Transfer())

    assert come(tmp_path, 2) == PHOTOS
    assert len(Store.copied) == 200 - 128


def test_what_has_changed_or_gone_meanwhile_is_as_it_is_now(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path
) -> None:
    stored(PHOTOS)
    copying(tmp_path, 1).take(Transfer())

    stored({"cat/1.jpg": b"cat!"})
    Store.versions["bucket/pets/cat/1.jpg"] = 2
    Store().rm_file("/bucket/pets/dog/2.jpg")
    Store.copied = []
    copying(tmp_path, 2).take(Transfer())

    expected = {**PHOTOS, "cat/1.jpg": b"cat!"}
    del expected["dog/2.jpg"]
    assert come(tmp_path, 2) == expected
    assert Store.copied == ["bucket/pets/cat/1.jpg"]


def test_an_attempt_that_only_seemed_dead_spoils_nothing(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path
) -> None:
    stored(PHOTOS)
    frozen = copying(tmp_path, 1)
    second = copying(tmp_path, 2)
    second.take(Transfer())

    Store().rm_file("/bucket/pets/dog/2.jpg")
    frozen.take(Transfer())
    frozen.discard()

    assert come(tmp_path, 2) == PHOTOS


def test_photos_whose_record_was_lost_are_copied_anew(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path
) -> None:
    """The process died between the folder and the record of it."""
    stored(PHOTOS)
    left = tmp_path / ".files-copying-1.partial" / "cat" / "1.jpg"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"an older cat")

    copying(tmp_path, 2).take(Transfer())

    assert come(tmp_path, 2) == PHOTOS


@pytest.mark.parametrize("limits", [{"max_archive_members": 199}, {"max_unpacked_bytes": SIZE - 1}])
def test_more_than_is_allowed_is_not_begun(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path, limits: dict[str, int]
) -> None:
    stored(PHOTOS)

    with pytest.raises(ArchiveTooLargeError):
        copying(tmp_path, **limits).take(Transfer())
    assert Store.copied == []


def test_without_room_on_the_disk_nothing_is_begun(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path
) -> None:
    stored(PHOTOS)

    with pytest.raises(DiskFullError):
        copying(tmp_path, min_free_bytes=shutil.disk_usage(tmp_path).total).take(Transfer())
    assert Store.copied == []


@pytest.mark.parametrize(
    "name", ["cat/../../../a.jpg", "cat\\a.jpg", "a\n.jpg", "x" * 256 + ".jpg"]
)
def test_a_name_that_leads_elsewhere_is_never_written(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path, name: str
) -> None:
    stored(PHOTOS)
    Store.store[f"/bucket/pets/{name}"] = Store.store["/bucket/pets/cat/1.jpg"]

    with pytest.raises(JobFailedError, match="name") as failed:
        copying(tmp_path).take(Transfer())
    assert failed.value.failure.code == "archive_invalid"
    assert come(tmp_path) == {}


def test_an_archive_goes_on_where_it_broke_off_unless_it_has_changed(
    stored: Callable[[dict[str, bytes]], None], tmp_path: Path
) -> None:
    content = a_tar({"a_1.jpg": bytes(20_000)})
    stored({"a.tar": content})
    store = ObjectStore(Place("gs", "bucket", "pets/a.tar", is_archive=True))

    for version, begun in enumerate(["v1", "v0"], start=1):
        into = PartialFile(tmp_path / begun, 1, SourceLimits())
        into.begin(mark=begun, total_bytes=len(content))
        into.write(content[:1024] if begun == "v1" else b"PK\3\4" * 256)
        transfer = Transfer()
        download_object(store, into, transfer, back_off=BackOff(io_pause_s=0))
        into.finish()
        assert (version, into.path.read_bytes() == content) == (version, True)
        assert transfer.bytes == len(content)
        into.release()


def test_a_store_whose_library_is_not_there_is_said() -> None:
    with pytest.raises(SourceUnreachableError, match=r"the worker cannot read az://box/p: .*adlfs"):
        ObjectStore(place_of("az", "az://box/p", ["az://box"]))
