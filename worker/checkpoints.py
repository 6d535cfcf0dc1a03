"""Where a job's checkpoints lie, and which of them are still needed: the newest two at most."""

from collections.abc import Collection
from pathlib import Path

import structlog

from jobs.artifacts import Artifacts
from jobs.job import Job

_CHECKPOINTS = "checkpoint-*"

log = structlog.get_logger(__name__)


def checkpoint_file(folder: Path, step: int) -> Path:
    """The checkpoint that an attempt with this folder saves after ``step`` optimiser steps."""
    return folder / f"checkpoint-{step}.pt"


def delete_others(artifacts: Artifacts, job: Job, needed: Collection[str]) -> None:
    """Of this attempt's checkpoints and those before it, only the needed ones are left.

    Later attempts are never touched: a frozen attempt that wakes up is not the newest any more.
    """
    for fence in range(1, job.fence + 1):
        folder = artifacts.attempt_folder(job.id, fence)
        for path in _all(artifacts, folder, _CHECKPOINTS):
            if artifacts.relative(path) not in needed:
                _delete(artifacts, path)


def delete_all(artifacts: Artifacts, job_id: str) -> None:
    """The job, which has ended, has no checkpoint any more."""
    for path in _all(artifacts, artifacts.job_folder(job_id), f"*/{_CHECKPOINTS}"):
        _delete(artifacts, path)


def _all(artifacts: Artifacts, folder: Path, pattern: str) -> set[Path]:
    """Those that are on this machine, and those that the store has."""
    kept: set[Path] = set()
    try:
        kept.update(artifacts.store.found(folder, pattern))
    except OSError as problem:
        # they go with what is removed by and by
        log.warning("checkpoints_not_found", folder=str(folder), reason=str(problem))
    return {*folder.glob(pattern), *kept}


def _delete(artifacts: Artifacts, path: Path) -> None:
    try:
        artifacts.remove(path)
    except OSError as problem:
        log.warning("checkpoint_not_deleted", path=str(path), reason=str(problem))
