"""What a runner gets to work with, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job
from jobs.queue import Doorbell
from jobs.settings import Settings
from worker.control import Control


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One attempt at one job, seen from inside the trainer."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    doorbell: Doorbell
    job: Job
    control: Control

    @property
    def folder(self) -> Path:
        """The only folder that this attempt writes to."""
        return self.artifacts.attempt_folder(self.job.id, self.job.fence)


class How(StrEnum):
    """How a runner ended."""

    SUCCEEDED = "succeeded"
    LET_GO = "let_go"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A runner's last word: columns of the job, and writes of the same transaction."""

    how: How
    values: Mapping[str, Any] = field(default_factory=dict)
    also: Callable[[Connection], None] | None = None


LET_GO = Ending(how=How.LET_GO)
"""The work was broken off on request; the job's state says where it goes."""
