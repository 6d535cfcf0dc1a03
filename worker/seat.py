"""Which of an attempt's trainers this is; a job for one device has one trainer."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A trainer's place among those that share a job's batches."""

    number: int = 0
    count: int = 1
    meeting: Path | None = None
    """The file at which they find each other; None where there is one."""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes what happens."""
        return self.number == 0
