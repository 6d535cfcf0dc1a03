"""One prefix of an object store, by fsspec, with the credentials that the environment has.

An object appears whole, or not at all: that is what stores promise of an upload, of one in parts
too. Whatever their libraries raise becomes one of a few errors of the operating system, so that
callers treat a store as they treat a disk.
"""

import errno
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jobs.settings_error import SettingsError

_CHUNK_BYTES = 8 << 20
_LIKE_A_PATTERN = frozenset("*?[]{}")
_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "TokenRetrievalError"}
)
_OF_OUR_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_TIMEOUTS = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 1}}
"""s3fs itself asks five times, for some three seconds altogether."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object; ``key`` is its name below the prefix, ``written_s`` in seconds since 1970."""

    key: str
    size_bytes: int
    written_s: float


class Bucket:
    """The objects below one address such as ``s3://bucket/prefix``.

    Every method raises FileNotFoundError where the object or the bucket is not there,
    PermissionError where the store refuses our credentials, and OSError (EHOSTUNREACH) where it
    does not answer, which may be over soon. Nothing is opened before the first question, so that
    a process may fork until then.
    """

    def __init__(self, url: str, *, endpoint: str | None = None) -> None:
        self.url = url
        self._protocol, _, self._base = url.partition("://")
        self._endpoint = endpoint
        self._opening = threading.Lock()
        self._opened: Any = None

    def check(self) -> None:
        """Objects can be written, read and deleted here.

        Raises:
            SettingsError: they never can with these settings.
        """
        key = f".tunesmith-{secrets.token_hex(8)}"
        try:
            self.write(key, b"x")
            self.read(key)
            self.delete([key])
        except FileNotFoundError as problem:
            raise SettingsError(
                f"TUNESMITH_ARTIFACT_STORE: there is no bucket of {self.url}; make it first, or "
                "correct the name"
            ) from problem
        except PermissionError as problem:
            raise SettingsError(
                f"TUNESMITH_ARTIFACT_STORE: objects of {self.url} may not be written, read and "
                f"deleted with the credentials of the environment ({problem.strerror}); S3 takes "
                "those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
            ) from problem

    def upload(self, files: Sequence[tuple[Path, str]]) -> None:
        """Each file's bytes are the object of this key."""
        with self._failures():
            keys = [self._path(key) for _, key in files]
            self._files.put([str(file) for file, _ in files], keys)

    def download(self, files: Sequence[tuple[str, Path]]) -> None:
        """Each object's bytes are in this file, which others see whole or not at all."""
        arriving = [file.with_name(f".{file.name}.{secrets.token_hex(6)}.tmp") for _, file in files]
        try:
            with self._failures():
                self._files.get([self._path(key) for key, _ in files], [str(t) for t in arriving])
            for temporary, (_, file) in zip(arriving, files, strict=True):
                temporary.replace(file)
        finally:
            for temporary in arriving:
                temporary.unlink(missing_ok=True)

    def read(self, key: str) -> bytes:
        """All bytes of a small object."""
        with self._failures(key):
            content: bytes = self._files.cat_file(self._path(key))
            return content

    def write(self, key: str, content: bytes) -> None:
        """The object has these bytes."""
        with self._failures(key):
            self._files.pipe_file(self._path(key), content)

    def chunks(self, key: str, start: int, stop: int) -> Iterator[bytes]:
        """The object's bytes from ``start`` to before ``stop``."""
        with self._failures(key):
            file = self._files.open(self._path(key), "rb", block_size=_CHUNK_BYTES)
        with file:
            file.seek(start)
            while start < stop:
                with self._failures(key):
                    chunk: bytes = file.read(min(_CHUNK_BYTES, stop - start))
                if not chunk:
                    raise OSError(errno.EIO, "the object is shorter than it was", self._shown(key))
                start += len(chunk)
                yield chunk

    def object(self, key: str) -> StoredObject | None:
        """The object of this key, if there is one."""
        try:
            with self._failures(key):
                return self._object(self._files.info(self._path(key)))
        except FileNotFoundError:
            return None

    def objects(self, beginning: str) -> list[StoredObject]:
        """All objects whose keys begin so, by key."""
        folder, _, name = beginning.rpartition("/")
        # other stores' libraries are not known to narrow it; what they find too much is left out
        narrowed = {"prefix": name} if name and self._protocol == "s3" else {}
        with self._failures(beginning):
            path = self._path(folder) if folder else self._base
            found = self._files.find(path, detail=True, **narrowed)
        objects = (self._object(info) for info in found.values() if info["type"] == "file")
        return sorted(
            (each for each in objects if each.key.startswith(beginning)), key=lambda each: each.key
        )

    def names(self, folder: str) -> list[str]:
        """What lies directly below a key, as in a folder; of what lies deeper the first step."""
        with self._failures(folder):
            try:
                found = self._files.ls(self._path(folder), detail=False)
            except FileNotFoundError:
                return []
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def delete(self, keys: Sequence[str]) -> None:
        """No object has one of these keys."""
        paths = [self._path(key) for key in keys]
        # `rm` would look for what a name like a pattern fits, and delete that
        plain = [path for path in paths if self._protocol == "s3" and not _LIKE_A_PATTERN & {*path}]
        with self._failures():
            if plain:
                self._files.rm(plain)
            for path in sorted({*paths} - {*plain}):
                # what is not there is as it shall be
                with suppress(FileNotFoundError):
                    self._files.rm_file(path)

    def link(self, key: str, *, name: str, media_type: str, valid_s: int) -> str | None:
        """A signed address that the object can be downloaded from; None where there is none."""
        if self._protocol != "s3":
            return None
        with self._failures(key):
            url: str = self._files.sign(
                self._path(key),
                expiration=valid_s,
                ResponseContentDisposition=f'attachment; filename="{name}"',
                ResponseContentType=media_type,
            )
            return url

    @property
    def _files(self) -> Any:  # noqa: ANN401 - whatever file system the store's library makes
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> Any:  # noqa: ANN401
        try:
            # most services need none of it
            import fsspec

            of_s3 = {"endpoint_url": self._endpoint, "config_kwargs": _TIMEOUTS}
            return fsspec.filesystem(
                self._protocol,
                # a fork must not use its parent's connections, nor see what was listed before
                skip_instance_cache=True,
                use_listings_cache=False,
                **(of_s3 if self._protocol == "s3" else {}),
            )
        except (ImportError, ValueError) as problem:
            raise SettingsError(
                f"TUNESMITH_ARTIFACT_STORE: {self._protocol}:// needs a package that is not "
                f"installed ({problem}); s3:// comes with the extra `objects`"
            ) from problem

    def _path(self, key: str) -> str:
        return f"{self._base}/{key}"

    def _shown(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url

    def _object(self, info: dict[str, Any]) -> StoredObject:
        key = str(info["name"]).lstrip("/").removeprefix(f"{self._base}/")
        return StoredObject(key=key, size_bytes=int(info["size"] or 0), written_s=_written_s(info))

    @contextmanager
    def _failures(self, key: str = "") -> Iterator[None]:
        where = self._shown(key)
        try:
            yield
        except SettingsError:
            raise
        except FileNotFoundError as problem:
            raise FileNotFoundError(
                errno.ENOENT, "it is not in the artifact store", where
            ) from problem
        except PermissionError as problem:
            raise _refused(where, "access denied") from problem
        except Exception as problem:  # an edge: each store's library has errors of its own
            if isinstance(problem, OSError) and problem.errno in _OF_OUR_DISK:
                raise
            if type(problem).__name__ in _NO_CREDENTIALS:
                raise _refused(where, "there are none") from problem
            detail = f"the artifact store does not answer ({type(problem).__name__})"
            raise OSError(errno.EHOSTUNREACH, detail, where) from problem


def _refused(where: str, why: str) -> PermissionError:
    return PermissionError(errno.EACCES, why, where)


def _written_s(info: dict[str, Any]) -> float:
    """When it was written; now where the store does not tell, so that it counts as new."""
    told = next((info[name] for name in ("LastModified", "updated", "mtime") if name in info), None)
    if isinstance(told, str):
        told = datetime.fromisoformat(told)
    return told.timestamp() if isinstance(told, datetime) else float(told or time.time())
