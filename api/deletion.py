"""Removes what belonged to something that was deleted."""

import shutil
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def delete_folder(folder: Path) -> None:
    """The folder is gone; a file that cannot be removed stays and is named in the log."""
    if folder.exists():
        shutil.rmtree(folder, onerror=_log_what_stays)


def delete_file(file: Path) -> None:
    """The file is gone; if it cannot be removed it stays and is named in the log."""
    try:
        file.unlink(missing_ok=True)
    except OSError as problem:
        _log_what_stays(None, str(file), problem)


def _log_what_stays(_: object, path: str, error: object) -> None:
    log.warning("file_not_deleted", path=path, error=str(error))
