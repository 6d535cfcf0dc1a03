"""Removes what belonged to something that was deleted, on this machine and in the store."""

import shutil
from pathlib import Path

import structlog

from jobs.artifacts import Artifacts

log = structlog.get_logger(__name__)


def delete_folder(artifacts: Artifacts, folder: Path) -> None:
    """The folder is gone; what cannot be removed stays and is named in the log."""
    if folder.exists():
        shutil.rmtree(folder, onerror=_log_what_stays)
    _forget(artifacts, folder)


def delete_file(artifacts: Artifacts, file: Path) -> None:
    """The file is gone; if it cannot be removed it stays and is named in the log."""
    try:
        file.unlink(missing_ok=True)
    except OSError as problem:
        _log_what_stays(None, str(file), problem)
    _forget(artifacts, file)


def _forget(artifacts: Artifacts, path: Path) -> None:
    # what stays in an object store is an orphan, which goes by and by
    try:
        artifacts.store.forget(path)
    except OSError as problem:
        _log_what_stays(None, str(path), problem)


def _log_what_stays(_: object, path: str, error: object) -> None:
    log.warning("file_not_deleted", path=path, error=str(error))
