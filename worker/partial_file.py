"""An archive that is still arriving: it outlives the attempt that began it.

Each attempt writes to a file of its own name. The next one takes over what a dead one has left; it
begins anew beside one that only seemed dead, and still holds its file.
"""

import fcntl
import json
import os
from pathlib import Path
from typing import BinaryIO

from jobs.artifacts import fsync, published
from jobs.disk_budget import require_free
from jobs.errors import ArchiveTooLargeError
from jobs.source_limits import SourceLimits
from jobs.sources import archives

PATTERN = ".archive-*.partial"
_LOOK_AT_DISK_BYTES = 64 << 20


class PartialFile:
    """The bytes of an archive from its beginning, and what tells whether a source still has them.

    ``mark`` is whatever the source calls this version of it; None where a second part of it could
    be of another version. ``total_bytes`` is None where the source does not say.
    """

    def __init__(self, folder: Path, fence: int, limits: SourceLimits) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f".archive-{fence}.partial"
        self.mark: str | None = None
        self.total_bytes: int | None = None
        self._limits = limits
        self._unlooked_bytes = 0
        self._file = self._taken_over() or self.path.open("w+b")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self.size_bytes = self._file.seek(0, os.SEEK_END)
        self._is_recognised = False

    def begin(self, *, mark: str | None, total_bytes: int | None) -> None:
        """Nothing is here yet of this version of the source.

        Raises:
            ArchiveTooLargeError: it is larger than an archive may be.
            DiskFullError: the disk has no room for it.
        """
        self._file.seek(0)
        self._file.truncate()
        self.size_bytes, self._is_recognised = 0, False
        self.mark, self.total_bytes = mark, total_bytes
        with published(_record_of(self.path)) as temporary:
            temporary.write_text(json.dumps({"mark": mark, "total_bytes": total_bytes}))
        self._check_size(total_bytes or 0)
        self._check_disk(total_bytes or _LOOK_AT_DISK_BYTES)

    @property
    def is_complete(self) -> bool:
        """Whether all has come, as far as the source has said how much that is."""
        return self.size_bytes > 0 and self.size_bytes == self.total_bytes

    def write(self, chunk: bytes) -> None:
        """The archive goes on with these bytes.

        Raises:
            ArchiveInvalidError: it is none.
            ArchiveTooLargeError: it is larger than an archive may be.
            DiskFullError: the disk has no more room for it.
        """
        self._check_size(self.size_bytes + len(chunk))
        self._unlooked_bytes += len(chunk)
        if self._unlooked_bytes >= _LOOK_AT_DISK_BYTES:
            self._check_disk(_LOOK_AT_DISK_BYTES)
            self._unlooked_bytes = 0
        self._file.write(chunk)
        self.size_bytes += len(chunk)
        if not self._is_recognised and self.size_bytes >= archives.HEAD_BYTES:
            self._file.flush()
            archives.format_in(self.path)
            self._is_recognised = True

    def finish(self) -> None:
        """All has come, and is on the disk."""
        self._file.flush()
        fsync(self.path)

    def release(self) -> None:
        """The next attempt may take it over."""
        self._file.close()

    def discard(self) -> None:
        """Nothing of it is left; one that was handed on stays."""
        self.release()
        self.path.unlink(missing_ok=True)
        _record_of(self.path).unlink(missing_ok=True)

    def _taken_over(self) -> BinaryIO | None:
        for left in sorted(self.path.parent.glob(PATTERN), key=_fence_of, reverse=True):
            file = left.open("r+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            record = _record_of(left)
            if record.exists():
                known = json.loads(record.read_text())
                self.mark, self.total_bytes = known["mark"], known["total_bytes"]
                record.rename(_record_of(self.path))
            left.rename(self.path)
            return file
        return None

    def _check_size(self, size_bytes: int) -> None:
        most = self._limits.max_upload_bytes
        if size_bytes > most:
            raise ArchiveTooLargeError(
                f"the archive has more than {most} bytes (TUNESMITH_MAX_UPLOAD_BYTES)"
            )

    def _check_disk(self, needed_bytes: int) -> None:
        require_free(self.path, needed_bytes, kept_free_bytes=self._limits.min_free_bytes)


def _fence_of(path: Path) -> int:
    return int(path.name.split("-")[1].split(".")[0])


def _record_of(path: Path) -> Path:
    return path.with_suffix(".json")
