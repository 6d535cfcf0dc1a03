"""Files that nothing refers to: what a killed process left half-way, or wrote after a deletion.

Files are looked at before the database is asked. A row comes before its folder and never comes
back, so a folder whose row is missing then belongs to nobody. Only a model's file comes before its
row: it is spared while a training goes on that may have written it.

What is older than everything in the database was not made for this database: it may be all that is
left of one that was lost. It is never removed; `strangers` names it.
"""

import contextlib
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from sqlalchemy import Connection, func, select

from jobs import tables
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.ids import made_ms
from jobs.job import FINAL_STATES, LEASED_STATES, JobState
from jobs.removals import Kind, Removal

_HALF_WRITTEN = frozenset({".tmp", ".part", ".partial"})
_CHECKPOINTS = "*/checkpoint-*"
_EPOCH_LOSSES = "*/losses-*.npy"
_ARRIVING = (".files-*", ".archive*")
_WHY = {
    Kind.CHECKPOINT: "its job has ended",
    Kind.EPOCH_LOSSES: "its job has ended; the loss ledger has them",
    Kind.HALF_WRITTEN: "nobody goes on writing it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Whatever may turn out to be an orphan."""

    jobs: tuple[Path, ...]
    datasets: tuple[Path, ...]
    models: tuple[Path, ...]
    uploads: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the database refers to, jobs and datasets with their states.

    ``since_ms`` is when the oldest of it was made, ``held_since_s`` when the oldest training that
    goes on began.
    """

    jobs: Mapping[str, JobState]
    datasets: Mapping[str, str]
    models: frozenset[str]
    uploads: frozenset[str]
    since_ms: float
    held_since_s: float


def orphans(database: Database, artifacts: Artifacts, *, grace_s: float) -> list[Removal]:
    """What nothing refers to, nor has been written to for ``grace_s`` seconds.

    Nothing of an unfinished job is among it, and no pixels: `retention` looks after these.
    """
    before_s = time.time() - grace_s
    found, known = _look(artifacts, database)
    of_jobs = _of_deleted(found.jobs, known.jobs, known.since_ms)
    of_datasets = _of_deleted(found.datasets, known.datasets, known.since_ms)
    paths = [
        *((path, Kind.ORPHAN, "its job was deleted") for path in of_jobs),
        *((path, Kind.ORPHAN, "its dataset was deleted") for path in of_datasets),
        *(
            (path, Kind.ORPHAN, "no model has this file")
            for path in _models(artifacts, found.models, known, before_s)
        ),
        *(
            (path, Kind.ORPHAN, "no upload has this file")
            for path in _of_deleted(found.uploads, known.uploads, known.since_ms)
        ),
        *((path, kind, _WHY[kind]) for path, kind in _left_by_finished(found.jobs, known.jobs)),
        *_left_by_imports(found.datasets, known.datasets),
    ]
    return [
        Removal(kind=kind, name=artifacts.relative(path), size_bytes=size_bytes(path), why=why)
        for path, kind, why in paths
        if is_old(path, before_s)
    ]


def strangers(database: Database, artifacts: Artifacts) -> list[Path]:
    """Folders and models that nothing refers to and that are older than all in the database."""
    found, known = _look(artifacts, database)
    models = (
        file for file in found.models if _path_of_its_model(artifacts, file) not in known.models
    )
    return sorted(
        path
        for path in (
            *(each for each in found.jobs if each.name not in known.jobs),
            *(each for each in found.datasets if each.name not in known.datasets),
            *models,
        )
        if not is_of(known.since_ms, path)
    )


def remove(artifacts: Artifacts, orphan: Removal) -> bool:
    """Whether it is gone; what resists stays."""
    return remove_path(artifacts.absolute(orphan.name))


def remove_path(path: Path) -> bool:
    """Whether the file or folder is gone; what resists stays."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return not path.exists()


def size_bytes(path: Path) -> int:
    """The bytes of a file, or of all files in a folder, as far as they can be seen."""
    total = 0
    for each in (path, *path.rglob("*")):
        # it may go while it is looked at
        with contextlib.suppress(OSError):
            total += each.lstat().st_size if each.is_file() else 0
    return total


def _look(artifacts: Artifacts, database: Database) -> tuple[_Found, Known]:
    # other names are none of ours
    found = _Found(
        jobs=tuple(artifacts.root.glob("jobs/job_*")),
        datasets=tuple(artifacts.root.glob("datasets/ds_*")),
        models=tuple(
            path
            for pattern in ("mdl_*", ".mdl_*")
            for path in artifacts.root.glob(f"models/{pattern}")
        ),
        uploads=tuple(
            path
            for pattern in ("upl_*", ".upl_*")
            for path in artifacts.uploads_folder().glob(pattern)
        ),
    )
    with database.read() as connection:
        return found, ask(connection)


def ask(connection: Connection) -> Known:
    """What the database refers to at this moment."""
    jobs, held = tables.jobs.c, [state.value for state in LEASED_STATES]
    oldest_ms = connection.scalar(select(func.min(jobs.started_ms)).where(jobs.state.in_(held)))
    return Known(
        jobs={
            row.id: JobState(row.state) for row in connection.execute(select(jobs.id, jobs.state))
        },
        datasets={
            row.id: row.state
            for row in connection.execute(select(tables.datasets.c.id, tables.datasets.c.state))
        },
        models=frozenset(connection.scalars(select(tables.models.c.path))),
        uploads=frozenset(connection.scalars(select(tables.uploads.c.id))),
        since_ms=_oldest_ms(connection),
        held_since_s=time.time() if oldest_ms is None else oldest_ms / 1000,
    )


def _oldest_ms(connection: Connection) -> float:
    """When the oldest job, dataset or model was made; infinity where there is none."""
    ids = (
        connection.scalar(select(func.min(table.c.id)))
        for table in (tables.jobs, tables.datasets, tables.models)
    )
    made = (made_ms(each) for each in ids if each is not None)
    return min((each for each in made if each is not None), default=float("inf"))


def is_of(since_ms: float, path: PurePath) -> bool:
    """Whether the thing of this name was made since then."""
    made = made_ms(path.name.removeprefix(".").partition(".")[0])
    return made is not None and made >= since_ms


def _of_deleted(folders: Iterable[Path], known: Collection[str], since_ms: float) -> Iterator[Path]:
    return (each for each in folders if each.name not in known and is_of(since_ms, each))


def _models(
    artifacts: Artifacts, files: Iterable[Path], known: Known, before_s: float
) -> Iterator[Path]:
    for file in files:
        # a training that was suspended with its machine may still write the row of an old file
        old = is_old(file, min(before_s, known.held_since_s - (time.time() - before_s)))
        is_free = _path_of_its_model(artifacts, file) not in known.models
        if old and is_free and is_of(known.since_ms, file):
            yield file


def _path_of_its_model(artifacts: Artifacts, file: Path) -> str:
    """An ONNX file belongs to the model whose id it begins with; other files to themselves."""
    if file.suffix == ".onnx":
        return artifacts.relative(artifacts.model_file(file.name.partition(".")[0]))
    return artifacts.relative(file)


def _left_by_finished(
    folders: Iterable[Path], known: Mapping[str, JobState]
) -> Iterator[tuple[Path, Kind]]:
    """What nobody will resume from, read again, or go on writing."""
    for folder in folders:
        if known.get(folder.name) in FINAL_STATES:
            half = {path for path in folder.rglob("*") if path.suffix in _HALF_WRITTEN}
            kinds = {
                **dict.fromkeys(folder.glob(_EPOCH_LOSSES), Kind.EPOCH_LOSSES),
                **dict.fromkeys(folder.glob(_CHECKPOINTS), Kind.CHECKPOINT),
                **dict.fromkeys(half, Kind.HALF_WRITTEN),
            }
            yield from sorted(kinds.items())


def _left_by_imports(
    folders: Iterable[Path], known: Mapping[str, str]
) -> Iterator[tuple[Path, Kind, str]]:
    """Photos that nobody goes on unpacking, and those of datasets that will never be ready."""
    for folder in folders:
        state = known.get(folder.name)
        if state in {"ready", "failed"}:
            for partial in sorted(each for glob in _ARRIVING for each in folder.glob(glob)):
                yield partial, Kind.HALF_WRITTEN, "nobody goes on unpacking it"
        if state == "failed" and (folder / "files").exists():
            yield folder / "files", Kind.ORPHAN, "its dataset could not be imported"


def is_old(path: Path, before_s: float) -> bool:
    """Whether it and all in it were last written before that; False when nobody can tell."""
    try:
        return all(each.lstat().st_mtime < before_s for each in (path, *path.rglob("*")))
    except OSError:
        return False
