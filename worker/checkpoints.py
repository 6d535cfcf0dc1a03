"""Where a job's checkpoints lie, and which of them are still needed: the newest two at most."""

from collections.abc import Collection
from pathlib import Path

from jobs.artifacts import Artifacts
from jobs.job import Job

_CHECKPOINTS = "checkpoint-*"


def checkpoint_file(folder: Path, step: int) -> Path:
    """The checkpoint that an attempt with this folder saves after ``step`` optimiser steps."""
    return folder / f"checkpoint-{step}.pt"


def delete_others(artifacts: Artifacts, job: Job, needed: Collection[str]) -> None:
    """Of this attempt's checkpoints and those before it, only the needed ones are left.

    Later attempts are never touched: a frozen attempt that wakes up is not the newest any more.
    """
    for fence in range(1, job.fence + 1):
        for path in artifacts.attempt_folder(job.id, fence).glob(_CHECKPOINTS):
            if artifacts.relative(path) not in needed:
                path.unlink(missing_ok=True)


def delete_all(artifacts: Artifacts, job_id: str) -> None:
    """The job, which has ended, has no checkpoint any more."""
    for path in artifacts.job_folder(job_id).glob(f"*/{_CHECKPOINTS}"):
        path.unlink(missing_ok=True)
