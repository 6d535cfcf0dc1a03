"""Artifacts in an object store, with copies in the folder of each machine."""

import errno
import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import tenacity

from jobs.artifact_stores import FolderStore
from jobs.bucket import Bucket

LINK_VALID_S = 900

_AT_ONCE = 256
_ANY_DEPTH = "**/"

_T = TypeVar("_T")


class BucketStore:
    """An object store; the folder has what is being made, and copies of what was needed.

    A file is never changed under the same name, but for those that `write` writes, of which no
    copies are made. So a copy stays right for as long as it is there.
    """

    is_apart = True

    def __init__(
        self, root: Path, bucket: Bucket, *, links: bool = True, patience_s: float = 0.0
    ) -> None:
        """A store of the files below ``root``.

        Args:
            root: the folder.
            bucket: where they are kept.
            links: whether clients are led there.
            patience_s: for how long a store that does not answer is asked again.
        """
        self.bucket = bucket
        self._root = root
        self._links = links
        self._patience_s = patience_s
        self._here = FolderStore()

    def check(self) -> None:
        """Objects can be written, read and deleted.

        Raises:
            SettingsError: they never can with these settings.
        """
        self.bucket.check()

    def keep(self, files: Sequence[Path]) -> None:
        """The store has them."""
        for some in _batches(files):
            self._upload(some)

    def fetch(self, files: Sequence[Path]) -> list[Path]:
        """Copies of those that were not here are here; those that were count as used now."""
        missing = [file for file in files if self._is_ours(file) and not _is_used_now(file)]
        for some in _batches(missing):
            self._download(some)
        return missing

    def forget(self, path: Path) -> None:
        """The store has no such object, and none below it."""
        key = self.key(path)
        objects = self._patiently(lambda: self.bucket.objects(key))
        keys = [each.key for each in objects if each.key == key or each.key.startswith(f"{key}/")]
        if keys:
            self._patiently(lambda: self.bucket.delete(keys))

    def read(self, file: Path) -> bytes:
        """All bytes of the object, of which no copy is made."""
        return self._patiently(lambda: self.bucket.read(self.key(file)))

    def write(self, file: Path, content: bytes) -> None:
        """The object has these bytes."""
        self._patiently(lambda: self.bucket.write(self.key(file), content))

    def size_bytes(self, file: Path) -> int | None:
        """The size of the file here, or of the object."""
        size_bytes = self._here.size_bytes(file)
        if size_bytes is not None:
            return size_bytes
        found = self._patiently(lambda: self.bucket.object(self.key(file)))
        return None if found is None else found.size_bytes

    def found(self, folder: Path, pattern: str) -> dict[Path, int]:
        """The objects whose keys fit; files that only this machine has are not among them."""
        beginning = f"{self.key(folder)}/{_literal(pattern)}"
        objects = self._patiently(lambda: self.bucket.objects(beginning))
        files = {self._root / each.key: each.size_bytes for each in objects}
        return {
            file: size
            for file, size in files.items()
            if _fits(file.relative_to(folder).as_posix(), pattern)
        }

    def names(self, folder: Path) -> list[str]:
        """What lies directly below the folder's key."""
        return self._patiently(lambda: self.bucket.names(self.key(folder)))

    def chunks(self, file: Path, start: int, stop: int) -> Iterator[bytes]:
        """The bytes of the file here, or of the object."""
        if file.is_file():
            return self._here.chunks(file, start, stop)
        return self.bucket.chunks(self.key(file), start, stop)

    def link(self, file: Path, *, name: str, media_type: str) -> str | None:
        """A signed address, good for a quarter of an hour, if clients are led there."""
        if not self._links:
            return None
        key = self.key(file)
        return self.bucket.link(key, name=name, media_type=media_type, valid_s=LINK_VALID_S)

    def key(self, path: Path) -> str:
        """The name of the file's object."""
        return path.relative_to(self._root).as_posix()

    def _is_ours(self, file: Path) -> bool:
        # photos of a client's folder are read where they are
        return file.is_relative_to(self._root)

    def _upload(self, files: Sequence[Path]) -> None:
        named = [(file, self.key(file)) for file in files]
        self._patiently(lambda: self.bucket.upload(named))

    def _download(self, files: Sequence[Path]) -> None:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        named = [(self.key(file), file) for file in files]
        try:
            self._patiently(lambda: self.bucket.download(named))
        except FileNotFoundError:
            # whoever opens what is nowhere is told so by the file system
            if len(files) > 1:
                for file in files:
                    self._download([file])

    def _patiently(self, ask: Callable[[], _T]) -> _T:
        asking = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_away),
            stop=tenacity.stop_after_delay(self._patience_s),
            wait=tenacity.wait_exponential(multiplier=0.5, max=10),
            reraise=True,
        )
        return asking(ask)


def _batches(files: Sequence[Path]) -> Iterator[Sequence[Path]]:
    return (files[first : first + _AT_ONCE] for first in range(0, len(files), _AT_ONCE))


def _is_away(problem: BaseException) -> bool:
    return isinstance(problem, OSError) and problem.errno == errno.EHOSTUNREACH


def _is_used_now(file: Path) -> bool:
    """Whether the file is here; if so it is among those used last."""
    try:
        os.utime(file)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _literal(pattern: str) -> str:
    """What every name that fits begins with."""
    return "" if pattern.startswith(_ANY_DEPTH) else pattern.partition("*")[0]


def _fits(name: str, pattern: str) -> bool:
    if pattern.startswith(_ANY_DEPTH):
        return fnmatch.fnmatchcase(PurePosixPath(name).name, pattern.removeprefix(_ANY_DEPTH))
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))
