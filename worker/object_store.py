"""Reads object stores by fsspec, with the credentials that the worker's environment has."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from jobs.errors import JobsError, SourceInterruptedError, SourceUnreachableError
from jobs.sources.object_places import Place

_CHUNK_BYTES = 8 << 20
_CHANGES = ("ETag", "etag", "md5Hash", "LastModified", "updated", "last_modified")
"""What the stores call that by which one version of an object differs from the next."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object; ``mark`` is what its store calls this version of it."""

    path: str
    size_bytes: int
    mark: str | None


class ObjectStore:
    """One place in an object store, inside the roots that the operator allowed.

    Every method raises SourceUnreachableError where the store refuses or does not have what was
    asked for, and SourceInterruptedError where that may be over soon.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        with self._failures():
            # a fork must not use its parent's connections, nor see what was listed before
            self._files: Any = fsspec.filesystem(
                place.protocol, skip_instance_cache=True, use_listings_cache=False
            )

    def archive(self) -> StoredObject:
        """The object that the place names."""
        with self._failures():
            info = self._files.info(self._place.path)
        return _object(info)

    def chunks(self, archive: StoredObject, start: int) -> Iterator[bytes]:
        """The object's bytes from there on."""
        with self._failures():
            file = self._files.open(archive.path, "rb", block_size=_CHUNK_BYTES)
        with file:
            file.seek(start)
            while chunk := self._read(file):
                yield chunk

    def objects(self) -> Iterator[StoredObject]:
        """All objects below the place, folder by folder."""
        folders = self._files.walk(self._place.path, detail=True, on_error="raise")
        while True:
            with self._failures():
                entry = next(folders, None)
            if entry is None:
                return
            yield from (
                _object(info) for info in entry[2].values() if not info["name"].endswith("/")
            )

    def copy(self, objects: Sequence[StoredObject], files: Sequence[Path]) -> None:
        """Each object's bytes are in the file of the same place in the list."""
        with self._failures():
            self._files.get([each.path for each in objects], [str(file) for file in files])

    def _read(self, file: Any) -> bytes:  # noqa: ANN401 - whatever file the store's library opens
        with self._failures():
            chunk: bytes = file.read(_CHUNK_BYTES)
            return chunk

    @contextmanager
    def _failures(self) -> Iterator[None]:
        where = f"{self._place.protocol}://{self._place.path}"
        try:
            yield
        except JobsError:
            raise
        except FileNotFoundError as problem:
            raise SourceUnreachableError(f"{where} does not exist") from problem
        except PermissionError as problem:
            detail = f"{where} may not be read with the worker's credentials: {problem}"
            raise SourceUnreachableError(detail) from problem
        except ImportError as problem:
            raise SourceUnreachableError(f"the worker cannot read {where}: {problem}") from problem
        except Exception as problem:  # an edge: each store's library has errors of its own
            detail = f"{where}: {type(problem).__name__}: {problem}"[:500]
            raise SourceInterruptedError(detail) from problem


def _object(info: dict[str, Any]) -> StoredObject:
    mark = next((str(info[name]) for name in _CHANGES if info.get(name)), None)
    return StoredObject(str(info["name"]), int(info["size"] or 0), mark)
