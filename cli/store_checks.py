"""Checks of what an installation keeps: its database, its files, its settings."""

import shutil
import tempfile
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.exc import DatabaseError

from cli.findings import Finding, State
from cli.installation import Installation, require_file, sqlite_file
from cli.show import bytes_text
from jobs import database_checks, keys, orphan_objects, orphans, retention, tables
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.keys import Scope
from jobs.settings import Settings, SettingsError

_MOST_KEYS = 10_000
_EXAMPLES = 3
_PLENTY_OF_TIMES = 5
"""Free space below so many times what imports leave free is worth a warning."""


def database_finding(known: Installation, database: Database) -> Finding:
    """Whether the database is there, at this version's revision, writable, whole, and near."""
    try:
        require_file(known.settings)
        is_current = database.is_current()
    except (StoreUnavailableError, DatabaseError) as problem:
        return _no_database(str(problem), "see that TUNESMITH_DATABASE_URL names it")
    if not is_current:
        return _no_database(
            "it is at the revision of another version",
            "run `tunesmith migrate`; a newer database needs a newer tunesmith",
        )
    return _usable(known.settings, database)


def _usable(settings: Settings, database: Database) -> Finding:
    damaged = database_checks.damage(database)
    if damaged is not None:
        return _no_database(
            f"it is damaged: {damaged}",
            "end the service, then put a backup in its place, or `tunesmith restore` a new one",
        )
    try:
        database_checks.write_nothing(database)
    except (StoreUnavailableError, DatabaseError) as problem:
        return _no_database(
            f"it takes no writes: {problem}", "see the rights of its file and folder, and the disk"
        )
    file = sqlite_file(settings)
    far = None if file is None else database_checks.far_disk(file)
    if far is not None:
        return _no_database(
            f"{file} lies on a network's file system ({far}), where SQLite loses writes",
            "use a disk of this machine, or PostgreSQL",
        )
    what = "PostgreSQL" if file is None else f"{file}, {bytes_text(file.stat().st_size)}"
    return Finding(name="database", found=f"{what}; current, writable, whole")


def _no_database(found: str, remedy: str) -> Finding:
    return Finding(name="database", state=State.FAILED, found=found, remedy=remedy)


def artifacts_finding(settings: Settings, database: Database | None) -> Finding:
    """Whether the folder of files is there, can be written to, and its disk has space."""
    folder = settings.artifacts
    if not folder.is_dir():
        if settings.artifact_store is not None:
            return _artifacts(f"{folder} is not there yet; what is needed is copied into it")
        if database is None or not _has_things(database):
            return _artifacts(f"{folder} is not there yet; the first dataset makes it")
        return _artifacts(
            f"{folder} is not there, and the database names files in it",
            State.FAILED,
            "mount the disk that it lies on, or correct TUNESMITH_ARTIFACTS",
        )
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as problem:
        remedy = "give the service's user the right to write there, and see the disk"
        return _artifacts(f"{folder} cannot be written to: {problem}", State.FAILED, remedy)
    return _space(settings)


def object_store_finding(settings: Settings) -> Finding | None:
    """Whether the object store can be used; None where a folder keeps the artifacts."""
    if settings.artifact_store is None:
        return None
    try:
        Artifacts.of(settings).store.check()
    except SettingsError as wrong:
        return _object_store(str(wrong), "correct the setting, the credentials or the bucket")
    except OSError as problem:
        found = f"{settings.artifact_store}: {problem.strerror}"
        return _object_store(found, "see whether it runs, and TUNESMITH_ARTIFACT_ENDPOINT")
    found = f"{settings.artifact_store}; objects can be written, read and deleted"
    return Finding(name="object store", found=found)


def _object_store(found: str, remedy: str) -> Finding:
    return Finding(name="object store", state=State.FAILED, found=found, remedy=remedy)


def _space(settings: Settings) -> Finding:
    free_bytes = shutil.disk_usage(settings.artifacts).free
    found = f"{settings.artifacts}; writable, {bytes_text(free_bytes)} free"
    remedy = "free space: `tunesmith gc`, a lower TUNESMITH_PIXEL_CACHE_BYTES, a larger disk"
    if free_bytes < settings.min_free_bytes:
        return _artifacts(found, State.FAILED, remedy)
    if free_bytes < _PLENTY_OF_TIMES * settings.min_free_bytes:
        return _artifacts(found, State.WARNING, remedy)
    return _artifacts(found)


def _artifacts(found: str, state: State = State.OK, remedy: str = "") -> Finding:
    return Finding(name="artifacts", state=state, found=found, remedy=remedy)


def _has_things(database: Database) -> bool:
    with database.read() as connection:
        return any(
            connection.execute(select(table.c.id).limit(1)).first() is not None
            for table in (tables.datasets, tables.models)
        )


def models_finding(settings: Settings, database: Database) -> Finding:
    """Whether every model's file is there, as long as it was written."""
    with database.read() as connection:
        columns = tables.models.c
        rows = connection.execute(select(columns.id, columns.path, columns.size_bytes)).all()
    artifacts = Artifacts.of(settings)
    folder = artifacts.root / "models"
    sizes = artifacts.store.found(folder, "*")
    missing = [row.id for row in rows if sizes.get(artifacts.absolute(row.path)) != row.size_bytes]
    if not missing:
        return Finding(name="models", found=f"{len(rows)}, each with its file")
    return Finding(
        name="models",
        state=State.FAILED,
        found=f"{len(missing)} of {len(rows)} have no file, or a part of it: {_few(missing)}",
        remedy="put the files back from a backup, or delete these models",
    )


def leftovers_findings(settings: Settings, database: Database) -> Iterator[Finding]:
    """What could go, and what lies among the files without being known."""
    store = retention.Store(database, Artifacts.of(settings), settings)
    plan = retention.plan(store)
    size = bytes_text(sum(removal.size_bytes for removal in plan))
    found = f"{len(plan)} that nothing needs, {size}" if plan else "none"
    remedy = "`tunesmith gc` removes them; the API does so every hour" if plan else ""
    yield Finding(name="leftovers", found=found, remedy=remedy)
    strange = orphans.strangers(database, store.artifacts)
    if strange:
        size = bytes_text(sum(map(orphans.size_bytes, strange)))
        yield _strangers([store.artifacts.relative(path) for path in strange], f", {size}")
    kept_apart = orphan_objects.strange_names(database, store.artifacts)
    if kept_apart:
        yield _strangers(kept_apart, " in the object store")


def _strangers(names: list[str], where: str) -> Finding:
    return Finding(
        name="strangers",
        state=State.WARNING,
        found=f"{len(names)} older than the database and unknown to it{where}: {_few(names)}",
        remedy="if a database was lost, `tunesmith restore` brings them back; else remove them",
    )


def settings_findings(settings: Settings, database: Database | None) -> Iterator[Finding]:
    """Settings that cannot work, one each; or that there are none."""
    wrong = [*_wrong(settings)]
    if settings.needs_keys and database is not None and not _has_admin(database):
        wrong.append(("requests need keys, and no usable one is an admin's", "`tunesmith migrate`"))
    for found, remedy in wrong:
        yield Finding(name="settings", state=State.FAILED, found=found, remedy=remedy)
    if not wrong:
        yield Finding(name="settings", found="nothing that cannot work")


def _wrong(settings: Settings) -> Iterator[tuple[str, str]]:
    for root in settings.dataset_roots:
        if not root.is_dir():
            yield (
                f"TUNESMITH_DATASET_ROOTS names {root}, which is no folder",
                "mount it, or take it off the list",
            )
    file = settings.admin_key_file
    if file is not None and not file.is_file():
        yield (f"TUNESMITH_ADMIN_KEY_FILE names {file}, which is no file", "write it, or unset it")
    largest = settings.max_upload_bytes + settings.min_free_bytes
    folder = settings.artifacts
    if folder.is_dir() and shutil.disk_usage(folder).total < largest:
        yield (
            f"TUNESMITH_MAX_UPLOAD_BYTES is {settings.max_upload_bytes}, more than the disk of "
            f"{folder} has",
            "set it lower",
        )


def _has_admin(database: Database) -> bool:
    usable = keys.usable_ids(database)
    listed = keys.list_keys(database, limit=_MOST_KEYS)
    return any(key.id in usable and Scope.ADMIN in key.scopes for key in listed)


def _few(names: list[str]) -> str:
    more = len(names) - _EXAMPLES
    return ", ".join(names[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
