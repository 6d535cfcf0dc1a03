"""Commands for the day on which a database is lost, or a job is to live elsewhere."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli.command_error import store_answers
from jobs import job_archive
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.errors import StoreUnavailableError
from jobs.restore import Report, restore
from jobs.settings import Settings, load_settings

_NOT_IN_IT = (
    "not in it: API keys (`tunesmith keys create` makes new ones), uploads, idempotency keys and "
    "jobs that had not ended"
)


def export_job(
    job_id: Annotated[str, typer.Argument(help="id of a finished job, job_…")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="file to write; absent: ID.tar.gz here")
    ] = None,
) -> None:
    """Write a finished job and all its files into one archive, for `tunesmith restore`."""
    settings, target = load_settings(), output or Path(f"{job_id}.tar.gz")
    database = Database(settings.database_url)
    try:
        with store_answers():
            job_archive.export(database, Artifacts.of(settings), job_id, target)
    finally:
        database.close()
    print(f"{target} holds {job_id}")


def restore_artifacts(
    source: Annotated[
        Path | None,
        typer.Argument(
            exists=True,
            help="an artifact folder, or an archive of export-job; absent: where the settings say "
            "that the artifacts are kept",
        ),
    ] = None,
    database_url: Annotated[
        str | None, typer.Option(help="database to fill; absent: TUNESMITH_DATABASE_URL")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would come back; change nothing")
    ] = False,
) -> None:
    """Build a lost database again from what finished jobs have left in the artifacts.

    What the database holds already is never changed.
    """
    settings = load_settings(**({"database_url": database_url} if database_url else {}))
    with (
        store_answers(),
        _database(settings, dry_run=dry_run) as database,
        _store(settings, source, dry_run=dry_run) as (artifacts, only),
    ):
        report = restore(database, artifacts, only=only, dry_run=dry_run)
    _tell(report, dry_run=dry_run)
    if only is None and artifacts.root.resolve() != settings.artifacts.resolve():
        print(f"to be served, the files must lie in {settings.artifacts}")


@contextmanager
def _database(settings: Settings, *, dry_run: bool) -> Iterator[Database]:
    """The database at this version's revision; a dry run may get an empty one in its place."""
    database = Database(settings.database_url)
    try:
        if not dry_run:
            database.migrate()
            yield database
        elif _is_current(database):
            yield database
        else:
            print("no database of this revision answers: said for an empty one")
            with tempfile.TemporaryDirectory() as folder, _empty(Path(folder)) as stand_in:
                yield stand_in
    finally:
        database.close()


def _is_current(database: Database) -> bool:
    url = database.engine.url
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        # to connect would make the file
        return False
    try:
        return database.is_current()
    except StoreUnavailableError:
        return False


@contextmanager
def _empty(folder: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{folder}/tunesmith.db")
    database.migrate()
    yield database
    database.close()


@contextmanager
def _store(
    settings: Settings, source: Path | None, *, dry_run: bool
) -> Iterator[tuple[Artifacts, list[str] | None]]:
    """Where the files lie, and the jobs to restore; None for all."""
    if source is None:
        yield Artifacts.of(settings), None
    elif source.is_dir():
        yield Artifacts(source.absolute()), None
    elif dry_run:
        with tempfile.TemporaryDirectory() as folder:
            artifacts = Artifacts(Path(folder))
            yield artifacts, job_archive.unpack(source, artifacts)
    else:
        artifacts = Artifacts.of(settings)
        yield artifacts, job_archive.unpack(source, artifacts)


def _tell(report: Report, *, dry_run: bool) -> None:
    verb = "would be restored" if dry_run else "restored"
    made = {"jobs": report.jobs, "datasets": report.datasets, "models": report.models}
    numbers = ", ".join(f"{len(ids)} {kind}" for kind, ids in made.items())
    print(f"{verb}: {numbers}; there already: {report.kept} jobs")
    for problem in report.problems:
        print(f"not restored: {problem}")
    print(_NOT_IN_IT)
