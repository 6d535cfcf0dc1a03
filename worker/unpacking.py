"""Unpacks the photos of an archive into a folder that has its name only once all are there."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from jobs.disk_budget import require_free
from jobs.errors import ArchiveInvalidError
from jobs.source_limits import SourceLimits
from jobs.sources.archive_member import Member
from jobs.sources.archive_names import shown, worth_of, wrapper_of
from jobs.sources.archives import opened
from worker import left_out
from worker.left_out import Tally

_CHUNK_BYTES = 1 << 20
_LOOK_AT_DISK_BYTES = 64 << 20
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Tell = Callable[[float, int], None]
"""Takes the share of the archive that is read and the photos so far; may raise to break off."""


def unpack(  # noqa: PLR0913  (places, limits and what is kept: each is a plain fact)
    archive: Path,
    into: Path,
    *,
    record: Path,
    partial: Path,
    limits: SourceLimits,
    tell: Tell,
    label_files: frozenset[str] = frozenset(),
) -> None:
    """The folder ``into`` holds the archive's photos, and ``record`` says what was left out.

    Files with the names of ``label_files`` are kept like photos. Folders that all of them lie in
    are taken off, unless they name a part of the split. Everything is written to ``partial`` first,
    which must lie beside ``into`` and is gone afterwards.

    Raises:
        ArchiveInvalidError, ArchiveTooLargeError: the archive must not be kept.
        DiskFullError: the disk has no more room for it.
        FileNotFoundError: there is no such archive.
    """
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        writer = _Writer(partial, limits, label_files)
        with opened(archive, limits) as source:
            for member in source.members():
                writer.take(member)
                tell(source.fraction, len(writer.names))
        left_out.record(record, writer.tally.left_out())
        # one call for all photos: a call for each would take longer than unpacking them
        os.sync()
        put_in_place(partial / wrapper_of(writer.names), into)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_in_place(folder: Path, into: Path) -> None:
    """The folder with all photos has its own name, unless another attempt was faster."""
    try:
        folder.rename(into)
    except OSError:
        # an attempt that was thought dead was faster, with the same photos
        if not into.is_dir():
            raise


class _Writer:
    """Writes photos into a folder of its own, as plain files, none of them twice."""

    def __init__(self, folder: Path, limits: SourceLimits, label_files: frozenset[str]) -> None:
        self.names: list[str] = []
        self.tally = Tally()
        self._label_files = label_files
        self._folder = folder
        self._limits = limits
        self._unlooked_bytes = _LOOK_AT_DISK_BYTES

    def take(self, member: Member) -> None:
        """The member is written if it is a photo, else counted."""
        if not member.name or member.kind == "folder":
            return
        reason = member.kind if member.kind != "file" else worth_of(member.name, self._label_files)
        if reason in {"photo", "label_file"}:
            self._write(member)
            self.names.append(member.name)
            return
        self.tally.add(reason, member.name)

    def _write(self, member: Member) -> None:
        path = self._folder / member.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, _FLAGS, mode=0o640)
        except (FileExistsError, NotADirectoryError) as problem:
            raise ArchiveInvalidError(
                f"the archive has two members for the one file {shown(member.name)} "
                "(or names that this file system cannot keep apart)"
            ) from problem
        with os.fdopen(descriptor, "wb") as file:
            while chunk := member.read(_CHUNK_BYTES):
                self._look_at_disk(len(chunk))
                file.write(chunk)

    def _look_at_disk(self, new_bytes: int) -> None:
        self._unlooked_bytes += new_bytes
        if self._unlooked_bytes >= _LOOK_AT_DISK_BYTES:
            require_free(
                self._folder, _LOOK_AT_DISK_BYTES, kept_free_bytes=self._limits.min_free_bytes
            )
            self._unlooked_bytes = 0
