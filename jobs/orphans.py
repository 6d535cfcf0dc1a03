"""Files that nothing refers to: what a killed process left half-way, or wrote after a deletion.

Files are looked at before the database is asked. A row comes before its folder and never comes
back, so a folder whose row is missing then belongs to nobody. Only a model's file comes before its
row: it is spared while a training goes on that may have written it.
"""

import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select

from jobs import tables
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import FINAL_STATES, LEASED_STATES, JobState

_HALF_WRITTEN = frozenset({".tmp", ".part", ".partial"})
_CHECKPOINTS = "*/checkpoint-*"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Whatever may turn out to be an orphan."""

    jobs: tuple[Path, ...]
    datasets: tuple[Path, ...]
    models: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the database refers to, and when the oldest training that goes on began."""

    jobs: Mapping[str, JobState]
    datasets: frozenset[str]
    models: frozenset[str]
    held_since_s: float


def remove_orphans(database: Database, artifacts: Artifacts, *, grace_s: float) -> list[Path]:
    """What nothing refers to is gone; its paths are returned.

    Nothing younger than ``grace_s`` seconds is touched, and nothing of an unfinished job. Any
    number of processes may look at once. A file that cannot be removed stays, and is returned
    neither.
    """
    before_s = time.time() - grace_s
    found = _look(artifacts)
    with database.read() as connection:
        known = _ask(connection)
    orphans = [
        *_of_deleted(found.jobs, known.jobs, before_s),
        *_of_deleted(found.datasets, known.datasets, before_s),
        *_models(artifacts, found.models, known, before_s),
        *_left_by_finished(found.jobs, known.jobs, before_s),
    ]
    removed = [path for path in orphans if _removed(path)]
    return removed + list(_remove_half_built(artifacts.pixels_folder(), before_s))


def _look(artifacts: Artifacts) -> _Found:
    # other names are none of ours
    return _Found(
        jobs=tuple(artifacts.root.glob("jobs/job_*")),
        datasets=tuple(artifacts.root.glob("datasets/ds_*")),
        models=tuple(
            path
            for pattern in ("mdl_*", ".mdl_*")
            for path in artifacts.root.glob(f"models/{pattern}")
        ),
    )


def _ask(connection: Connection) -> _Known:
    jobs, held = tables.jobs.c, [state.value for state in LEASED_STATES]
    oldest_ms = connection.scalar(select(func.min(jobs.started_ms)).where(jobs.state.in_(held)))
    return _Known(
        jobs={
            row.id: JobState(row.state) for row in connection.execute(select(jobs.id, jobs.state))
        },
        datasets=frozenset(connection.scalars(select(tables.datasets.c.id))),
        models=frozenset(connection.scalars(select(tables.models.c.path))),
        held_since_s=time.time() if oldest_ms is None else oldest_ms / 1000,
    )


def _of_deleted(folders: Iterable[Path], known: Iterable[str], before_s: float) -> Iterator[Path]:
    known = frozenset(known)
    return (each for each in folders if each.name not in known and _is_old(each, before_s))


def _models(
    artifacts: Artifacts, files: Iterable[Path], known: _Known, before_s: float
) -> Iterator[Path]:
    for file in files:
        # a training that was suspended with its machine may still write the row of an old file
        is_old = _is_old(file, min(before_s, known.held_since_s - (time.time() - before_s)))
        if is_old and artifacts.relative(file) not in known.models:
            yield file


def _left_by_finished(
    folders: Iterable[Path], known: Mapping[str, JobState], before_s: float
) -> Iterator[Path]:
    """Checkpoints that nobody will resume from, and files that nobody goes on writing."""
    for folder in folders:
        if known.get(folder.name) in FINAL_STATES:
            left = {*folder.glob(_CHECKPOINTS), *_half_written(folder)}
            yield from (file for file in sorted(left) if _is_old(file, before_s))


def _half_written(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in _HALF_WRITTEN)


def _remove_half_built(pixels: Path, before_s: float) -> Iterator[Path]:
    for partial in sorted(pixels.glob("*.partial")):
        with partial.with_suffix(".lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # somebody is building it
                continue
            if _is_old(partial, before_s) and _removed(partial):
                yield partial


def _is_old(path: Path, before_s: float) -> bool:
    """Whether it and all in it were last written before that; False when nobody can tell."""
    try:
        return all(each.lstat().st_mtime < before_s for each in (path, *path.rglob("*")))
    except OSError:
        return False


def _removed(path: Path) -> bool:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return not path.exists()
