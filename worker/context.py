"""What a runner gets to work with, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.dataset_spec import PathSource, Source
from jobs.job import Job
from jobs.models import Model
from jobs.queue import Doorbell
from jobs.settings import Settings
from jobs.sources import paths
from worker.control import Control
from worker.patience import until_answered
from worker.seat import Seat

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One attempt at one job, seen from inside the trainer."""

    settings: Settings
    database: Database
    artifacts: Artifacts
    doorbell: Doorbell
    job: Job
    control: Control
    seat: Seat = field(default_factory=Seat)

    @property
    def folder(self) -> Path:
        """The only folder that this attempt writes to."""
        return self.artifacts.attempt_folder(self.job.id, self.job.fence)

    @property
    def pixels_folder(self) -> Path:
        """Presized pixels, shared by all jobs on this machine, or by all jobs."""
        return self.settings.pixels or self.artifacts.pixels_folder()

    @property
    def readable_roots(self) -> tuple[Path, ...]:
        """The folders that photos and the files beside them may be read from."""
        return (*self.settings.dataset_roots, self.artifacts.root)

    def photos_folder(self, dataset_id: str, source: Source) -> Path:
        """The folder that the paths of the dataset's items begin at.

        Raises:
            SourceForbiddenError, SourceUnreachableError: the client's folder cannot be used.
        """
        if isinstance(source, PathSource):
            return paths.resolve_inside(source.path, self.settings.dataset_roots)
        return self.artifacts.photos_folder(dataset_id)

    def model_file(self, model: Model) -> Path:
        """The model's weights, which are on this machine if they are anywhere.

        Raises:
            OSError: the artifact store cannot be asked, or has another file than was recorded.
        """
        digest = model.digest.removeprefix("sha256:")
        return self.artifacts.fetched(self.artifacts.absolute(model.path), digest=digest)

    def items_file(self, dataset_id: str) -> Path:
        """The rows of the dataset's photos, which are on this machine if they are anywhere.

        Raises:
            OSError: the artifact store cannot be asked.
        """
        return self.artifacts.fetched(self.artifacts.items_file(dataset_id))

    def tell(
        self,
        write: Callable[Concatenate[Database, str, int, P], object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `write`, where this trainer is the one that writes what happens.

        Raises:
            LeaseLostError: the job belongs to another attempt or to nobody.
        """
        if self.control.speaks:
            self.write(write, *args, **kwargs)

    def write(
        self,
        write: Callable[Concatenate[Database, str, int, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """The write is done under the attempt's fence, however long the database is away.

        Returns what it returned.

        Raises:
            LeaseLostError: the job belongs to another attempt or to nobody.
        """
        told = until_answered(
            lambda: write(self.database, self.job.id, self.job.fence, *args, **kwargs)
        )
        self.doorbell.happened(self.job.id)
        return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a success comes to: columns of the job, and writes of the same transaction."""

    values: Mapping[str, Any] = field(default_factory=dict)
    also: Callable[[Connection], None] | None = None
