"""Files of this machine that an object store has, too: the ones not used for longest can go.

What a copy is, is not written down anywhere: before a file goes, the store is asked whether it has
one of that name and size.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from jobs import tables
from jobs.artifacts import Artifacts
from jobs.bucket_store import BucketStore
from jobs.database import Database
from jobs.job import LEASED_STATES

_KINDS = ("datasets", "models", "uploads", "jobs")
_OPENED_WITHIN_S = 600.0
"""A file that was fetched is opened soon after; what was used since then stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """A file, or a folder of many; ``used_s`` is in seconds since 1970."""

    name: str
    size_bytes: int
    used_s: float


def superfluous(database: Database, artifacts: Artifacts, *, most_bytes: int) -> list[Copies]:
    """Those not used for longest without which the rest fits; none where a folder keeps them.

    What a job in hand may read stays, as does what was used in the last ten minutes.
    """
    if not artifacts.store.is_apart:
        return []
    found = sorted(_found(artifacts.root), key=lambda each: (each.used_s, each.name))
    excess = sum(each.size_bytes for each in found) - most_bytes
    if excess <= 0:
        return []
    in_hand = _in_hand(database)
    chosen = []
    for each in found:
        is_used = each.name.split("/")[1] in in_hand or each.used_s > time.time() - _OPENED_WITHIN_S
        if excess > 0 and not is_used:
            excess -= each.size_bytes
            chosen.append(each)
    return chosen


def remove(artifacts: Artifacts, name: str) -> bool:
    """Whether nothing is left of it on this machine; what the store does not have stays.

    Raises:
        OSError: the store cannot be asked.
    """
    store, path = artifacts.store, artifacts.absolute(name)
    if not isinstance(store, BucketStore):
        return False
    kept = {each.key: each.size_bytes for each in store.bucket.objects(name)}
    files = _files(path)
    for file in files:
        if kept.get(store.key(file)) == file.stat().st_size:
            file.unlink(missing_ok=True)
    return not any(file.exists() for file in files)


def _in_hand(database: Database) -> set[str]:
    """Ids of the jobs that are worked on, and of their datasets."""
    columns = tables.jobs.c
    held = [state.value for state in LEASED_STATES]
    query = select(columns.id, columns.dataset_id).where(columns.state.in_(held))
    with database.read() as connection:
        rows = connection.execute(query).all()
    return {row.id for row in rows} | {row.dataset_id for row in rows if row.dataset_id is not None}


def _found(root: Path) -> Iterator[Copies]:
    for kind in _KINDS:
        for thing in (root / kind).glob("*"):
            for each in _parts(kind, thing):
                files = [(file.stat().st_size, file.stat().st_mtime) for file in _files(each)]
                if files:
                    yield Copies(
                        name=each.relative_to(root).as_posix(),
                        size_bytes=sum(size for size, _ in files),
                        used_s=max(used_s for _, used_s in files),
                    )


def _parts(kind: str, thing: Path) -> list[Path]:
    """What goes together: all photos of a dataset, or all its thumbnails; else each file."""
    return sorted(thing.glob("*")) if kind == "datasets" else _files(thing)


def _files(path: Path) -> list[Path]:
    """The file, or all in the folder, that have their names already."""
    found = [path, *path.rglob("*")] if path.is_dir() else [path]
    return [
        each
        for each in found
        if not any(step.startswith(".") for step in each.relative_to(path.parent).parts)
        and each.is_file()
    ]
