"""What is removed by and by: one function says what, one does it.

Results stay for ever: models, ledgers, curves, plots, previews, logs, and every event but
``job.progress``. What goes is worth nothing any more, or can be made again.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from jobs import copies, old_rows, orphan_objects, orphans, pixel_cache, uploads
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.old_rows import DAY_MS, Kept
from jobs.removals import Kind, Removal
from jobs.retention_limits import RetentionLimits

_ROWS = frozenset({Kind.PROGRESS, Kind.SIDE_JOB, Kind.ANSWERS, Kind.WORKER, Kind.DELIVERIES})


@dataclass(frozen=True, slots=True)
class Store:
    """Where things are removed from, and by which rules."""

    database: Database
    artifacts: Artifacts
    limits: RetentionLimits

    @property
    def pixels(self) -> Path:
        """Where presized pixels lie, beside the other artifacts or on a disk of their own."""
        return self.limits.pixels or self.artifacts.pixels_folder()

    @property
    def kept(self) -> Kept:
        """For how long rows stay."""
        return Kept(
            progress_ms=round(self.limits.progress_days * DAY_MS),
            side_jobs_ms=round(self.limits.side_jobs_days * DAY_MS),
            deliveries_ms=round(self.limits.webhook_days * DAY_MS),
        )


def plan(store: Store) -> list[Removal]:
    """What would be removed now; nothing that is in use is among it."""
    grace_s = store.limits.orphan_grace_s
    return [
        *plan_here(store),
        *orphan_objects.orphan_objects(store.database, store.artifacts, grace_s=grace_s),
        *_uploads(store),
        *(_with_folder(store, rows) for rows in old_rows.find(store.database, store.kept)),
    ]


def plan_here(store: Store) -> list[Removal]:
    """What would be removed from this machine alone, which other machines cannot do."""
    return [
        *orphans.orphans(store.database, store.artifacts, grace_s=store.limits.orphan_grace_s),
        *_pixels(store),
        *_copies(store),
    ]


def remove(store: Store, removal: Removal) -> bool:
    """Whether it is gone; what has come into use since it was planned stays."""
    if removal.kind == Kind.PIXELS:
        return pixel_cache.remove_unless_used(store.pixels / Path(removal.name).name)
    if removal.kind == Kind.UPLOAD:
        limits, gone = store.limits, uploads.delete_unused
        return gone(store.database, store.artifacts, removal.name, keep_s=limits.upload_keep_s)
    if removal.kind == Kind.OBJECT:
        store.artifacts.store.forget(store.artifacts.absolute(removal.name))
        return True
    if removal.kind == Kind.COPY:
        return copies.remove(store.artifacts, removal.name)
    if removal.kind not in _ROWS:
        return orphans.remove(store.artifacts, removal)
    is_gone = old_rows.remove(store.database, store.kept, removal)
    if is_gone and removal.kind == Kind.SIDE_JOB:
        folder = store.artifacts.job_folder(removal.name)
        orphans.remove_path(folder)
        store.artifacts.store.forget(folder)
    return is_gone


def collect(store: Store) -> Iterator[Removal]:
    """Everything of the plan that could be removed, each as soon as it is gone."""
    return (removal for removal in plan(store) if remove(store, removal))


def collect_here(store: Store) -> Iterator[Removal]:
    """As `collect`, of this machine alone."""
    return (removal for removal in plan_here(store) if remove(store, removal))


def collect_pixels(store: Store) -> Iterator[Removal]:
    """As `collect`, of the pixels alone: those on a disk of a worker's own are its to remove."""
    return (removal for removal in _pixels(store) if remove(store, removal))


def _with_folder(store: Store, rows: Removal) -> Removal:
    """A side job goes with its files."""
    if rows.kind != Kind.SIDE_JOB:
        return rows
    return replace(rows, size_bytes=orphans.size_bytes(store.artifacts.job_folder(rows.name)))


def _uploads(store: Store) -> Iterator[Removal]:
    keep_s = store.limits.upload_keep_s
    for upload in uploads.unused(store.database, keep_s=keep_s):
        yield Removal(
            kind=Kind.UPLOAD,
            name=upload.id,
            size_bytes=upload.size_bytes,
            why=f"nobody has used it for {keep_s:g} seconds",
        )


def _copies(store: Store) -> Iterator[Removal]:
    most_bytes = store.limits.artifact_copies_bytes
    for copy in copies.superfluous(store.database, store.artifacts, most_bytes=most_bytes):
        yield Removal(
            kind=Kind.COPY,
            name=copy.name,
            size_bytes=copy.size_bytes,
            why=f"not used for longest; copies take more than {most_bytes} bytes",
        )


def _pixels(store: Store) -> Iterator[Removal]:
    yield from _half_built_pixels(store)
    yield from _unused_pixels(store)


def _half_built_pixels(store: Store) -> Iterator[Removal]:
    before_s = time.time() - store.limits.orphan_grace_s
    for partial in pixel_cache.half_built(store.pixels):
        if orphans.is_old(partial, before_s):
            size_bytes = orphans.size_bytes(partial)
            yield _of_pixels(partial, size_bytes, "nobody goes on building it")


def _unused_pixels(store: Store) -> Iterator[Removal]:
    most_bytes = store.limits.pixel_cache_bytes
    for entry in pixel_cache.superfluous(store.pixels, most_bytes=most_bytes):
        hours = (time.time() - entry.used_s) / 3600
        why = f"last used {hours:.1f} hours ago; pixels take more than {most_bytes} bytes"
        yield _of_pixels(entry.folder, entry.size_bytes, why)


def _of_pixels(folder: Path, size_bytes: int, why: str) -> Removal:
    name = f"pixels/{folder.name}"
    return Removal(kind=Kind.PIXELS, name=name, size_bytes=size_bytes, why=why)
