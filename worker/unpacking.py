"""Unpacks the photos of an archive into a folder that has its name only once all are there."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from jobs.artifacts import published
from jobs.disk_budget import require_free
from jobs.errors import ArchiveInvalidError
from jobs.source_limits import SourceLimits
from jobs.sources.archive_member import Member
from jobs.sources.archive_names import shown, worth_of, wrapper_of
from jobs.sources.archives import opened
from jobs.sources.paths import printable

_CHUNK_BYTES = 1 << 20
_LOOK_AT_DISK_BYTES = 64 << 20
_EXAMPLES = 5
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Tell = Callable[[float, int], None]
"""Takes the share of the archive that is read and the photos so far; may raise to break off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Members of one kind that are no photos, or are never written."""

    reason: str
    count: int
    examples: Sequence[str]


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
        with published(record) as temporary:
            temporary.write_text(json.dumps([asdict(each) for each in writer.left_out()]))
        # one call for all photos: a call for each would take longer than unpacking them
        os.sync()
        _put_in_place(partial / wrapper_of(writer.names), into)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def left_out(record: Path) -> list[LeftOut]:
    """What `unpack` recorded; nothing where no archive was unpacked."""
    if not record.exists():
        return []
    return [LeftOut(**each) for each in json.loads(record.read_text())]


class _Writer:
    """Writes photos into a folder of its own, as plain files, none of them twice."""

    def __init__(self, folder: Path, limits: SourceLimits, label_files: frozenset[str]) -> None:
        self.names: list[str] = []
        self._label_files = label_files
        self._folder = folder
        self._limits = limits
        self._unlooked_bytes = _LOOK_AT_DISK_BYTES
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def take(self, member: Member) -> None:
        """The member is written if it is a photo, else counted."""
        if not member.name or member.kind == "folder":
            return
        reason = member.kind if member.kind != "file" else worth_of(member.name, self._label_files)
        if reason in {"photo", "label_file"}:
            self._write(member)
            self.names.append(member.name)
            return
        self._counts[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(printable(member.name))

    def left_out(self) -> list[LeftOut]:
        """What was counted, most frequent first."""
        return [
            LeftOut(reason=reason, count=count, examples=self._examples[reason])
            for reason, count in self._counts.most_common()
        ]

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


def _put_in_place(folder: Path, into: Path) -> None:
    try:
        folder.rename(into)
    except OSError:
        # an attempt that was thought dead was faster, with the same photos
        if not into.is_dir():
            raise


def in_words(found: Sequence[LeftOut]) -> str:
    """How many members were left out, and why."""
    words: Mapping[str, str] = {
        "hidden": "hidden",
        "not_a_photo": "no photos",
        "link": "links",
        "special": "devices or pipes",
    }
    counts = ", ".join(f"{each.count} {words[each.reason]}" for each in found)
    examples = list(chain.from_iterable(each.examples for each in found))[:_EXAMPLES]
    return f"{counts} (such as {', '.join(map(shown, examples))})"
