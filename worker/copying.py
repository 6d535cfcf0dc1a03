"""Copies the photos below a prefix of an object store into a folder of the dataset's.

The folder has its name only once all are there. Until then every photo that has come stays, and the
next attempt takes over the folder of the last one and copies what is missing or has changed.
"""

import contextlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.artifacts import published
from jobs.disk_budget import require_free
from jobs.errors import ArchiveInvalidError, ArchiveTooLargeError, SourceInterruptedError
from jobs.source_limits import SourceLimits
from jobs.sources.archive_names import checked_name, shown, worth_of
from jobs.sources.object_places import Place
from worker.failures import JobFailedError
from worker.left_out import LeftOut, Tally
from worker.object_store import ObjectStore, StoredObject
from worker.transfer import Transfer

_BATCH_FILES = 64
_BATCH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Photo:
    """A photo's object and its name below the prefix."""

    name: str
    object: StoredObject


class Copying:
    """One attempt to have all photos of a prefix in ``folder``, which has a name of its own.

    So one that only seemed dead can spoil no other's.
    """

    def __init__(
        self,
        prefix: Place,
        *,
        beside: Path,
        fence: int,
        limits: SourceLimits,
        label_files: frozenset[str] = frozenset(),
    ) -> None:
        self._label_files = label_files
        self.folder = beside.with_name(f".files-copying-{fence}.partial")
        self._prefix = prefix
        self._arriving = beside.with_name(f".files-arriving-{fence}.partial")
        self._limits = limits
        self.left_out: list[LeftOut] = []
        self._take_over()

    def take(self, transfer: Transfer) -> None:
        """Every photo is in the folder, and nothing else.

        Raises:
            ArchiveTooLargeError: they are more than the limits allow.
            DiskFullError: the disk has no room for them.
            JobFailedError: an object has a name that no file can have.
            SourceUnreachableError: the store refuses, or breaks off.
        """
        # its library may take seconds to load
        store = ObjectStore(self._prefix)
        photos = self._listed(store)
        transfer.steps = len(photos)
        transfer.total_bytes = sum(each.object.size_bytes for each in photos)
        missing = self._missing(photos)
        missing_bytes = sum(each.object.size_bytes for each in missing)
        transfer.step = len(photos) - len(missing)
        transfer.bytes = transfer.total_bytes - missing_bytes
        self._require_free(missing_bytes)
        for batch in _batches(missing):
            self._copy(store, batch)
            transfer.step += len(batch)
            transfer.bytes += sum(each.object.size_bytes for each in batch)

    def discard(self) -> None:
        """Nothing of it is left, unless the folder has its name already."""
        for folder in (self.folder, self._arriving):
            shutil.rmtree(folder, ignore_errors=True)
        self._record.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        """Which version of each photo was to be copied."""
        return self.folder.with_suffix(".json")

    def _take_over(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        left = sorted(self.folder.parent.glob(".files-copying-*.partial"), key=_fence_of)
        if left and left[-1] != self.folder:
            # without the record everything is copied anew, so that it may follow
            left[-1].rename(self.folder)
            with contextlib.suppress(FileNotFoundError):
                left[-1].with_suffix(".json").rename(self._record)
        self.folder.mkdir(exist_ok=True)

    def _listed(self, store: ObjectStore) -> list[_Photo]:
        tally, photos = Tally(), []
        for number, each in enumerate(store.objects(), start=1):
            if number > self._limits.max_archive_members:
                most = self._limits.max_archive_members
                raise ArchiveTooLargeError(f"more than {most} objects lie below the prefix")
            name = self._name(each)
            worth = worth_of(name, self._label_files)
            if worth in {"photo", "label_file"}:
                photos.append(_Photo(name, each))
            else:
                tally.add(worth, name)
        self._check_size(photos)
        self.left_out = tally.left_out()
        return sorted(photos, key=lambda photo: photo.name)

    def _name(self, each: StoredObject) -> str:
        key = each.path.removeprefix(self._prefix.path).lstrip("/")
        try:
            return checked_name(key)
        except ArchiveInvalidError as wrong:
            raise _no_file(key) from wrong

    def _check_size(self, photos: Sequence[_Photo]) -> None:
        most = self._limits.max_unpacked_bytes
        if sum(photo.object.size_bytes for photo in photos) > most:
            raise ArchiveTooLargeError(f"the photos below the prefix have more than {most} bytes")

    def _missing(self, photos: Sequence[_Photo]) -> list[_Photo]:
        """What an earlier attempt has not copied as it is now; whatever else is there is gone."""
        known = json.loads(self._record.read_text()) if self._record.exists() else {}
        same = {
            photo.name
            for photo in photos
            if photo.object.mark is not None and known.get(photo.name) == photo.object.mark
        }
        for file in [each for each in self.folder.rglob("*") if not each.is_dir()]:
            if file.relative_to(self.folder).as_posix() not in same:
                file.unlink()
        with published(self._record) as temporary:
            temporary.write_text(json.dumps({each.name: each.object.mark for each in photos}))
        return [photo for photo in photos if not (self.folder / photo.name).is_file()]

    def _copy(self, store: ObjectStore, photos: Sequence[_Photo]) -> None:
        self._require_free(_BATCH_BYTES)
        shutil.rmtree(self._arriving, ignore_errors=True)
        self._arriving.mkdir()
        arriving = [self._arriving / str(number) for number in range(len(photos))]
        store.copy([photo.object for photo in photos], arriving)
        for photo, file in zip(photos, arriving, strict=True):
            self._put(photo, file)
        shutil.rmtree(self._arriving)

    def _put(self, photo: _Photo, file: Path) -> None:
        if file.stat().st_size != photo.object.size_bytes:
            raise SourceInterruptedError(f"{photo.object.path} changed while it was copied")
        place = self.folder / photo.name
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            file.rename(place)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as problem:
            raise _no_file(photo.name) from problem

    def _require_free(self, needed_bytes: int) -> None:
        require_free(self.folder, needed_bytes, kept_free_bytes=self._limits.min_free_bytes)


def _fence_of(folder: Path) -> int:
    return int(folder.name.split("-")[2].split(".")[0])


def _batches(photos: Iterable[_Photo]) -> Iterator[list[_Photo]]:
    batch: list[_Photo] = []
    for photo in photos:
        batch.append(photo)
        if len(batch) == _BATCH_FILES or sum(e.object.size_bytes for e in batch) > _BATCH_BYTES:
            yield batch
            batch = []
    if batch:
        yield batch


def _no_file(name: str) -> JobFailedError:
    return JobFailedError(
        "archive_invalid",
        f"the object {shown(name)} has a name that no file beside the others can have",
        "rename it, or name a prefix that it does not lie below",
    )
