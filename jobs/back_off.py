"""How often, and how much later each time, a job is tried again after an error of its machine."""

import random

from pydantic import BaseModel, Field

_JITTER = 0.5
"""Up to this share of a pause is left out, so that jobs which failed together do not return so."""


class BackOff(BaseModel):
    """The part of the settings that says when a disk or a network is trusted again."""

    io_attempts: int = Field(
        default=3,
        ge=1,
        le=100,
        description="attempts that errors of disk or network may end at the same point before "
        "the job fails",
    )
    io_pause_s: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="seconds before the second of these attempts; each further pause is twice "
        "as long",
    )
    io_longest_pause_s: float = Field(
        default=300.0, ge=0, le=86400, description="seconds that no such pause is longer than"
    )

    def pause_ms(self, setbacks: int) -> int:
        """How long a job with so many setbacks (1 or more) waits; up to half of it by chance."""
        doublings = min(setbacks - 1, 60)
        longest_s = min(self.io_pause_s * 2.0**doublings, self.io_longest_pause_s)
        drawn = random.uniform(1 - _JITTER, 1)  # noqa: S311 - nothing secret
        return int(longest_s * drawn * 1000)
