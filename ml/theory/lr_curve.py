"""A recorded range test: which of its steps a rule may read, and how its loss falls."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml.theory import lr_rules
from ml.theory.errors import InvalidInputError
from ml.theory.lr_rules import NoAnswerError, Trim
from ml.theory.zero_lag import Descent, descent, width_steps, zero_lag

Floats = npt.NDArray[np.float64]
Edge = Literal["low", "high", "cut_short"]

DIVERGED_FACTOR = 4.0
LEAST_RATE = 1e-30


@dataclass(frozen=True, slots=True)
class RecordedCurve:
    """The recorded steps; a loss is NaN where float32 cannot hold it."""

    lrs: Floats
    raw: Floats
    smoothed: Floats
    zero_lag: Floats
    width: float
    """Standard deviation in steps of the Gaussian behind ``zero_lag``."""
    num_steps: int
    """The steps that were planned; a record of fewer ended early."""

    @classmethod
    def of(
        cls,
        lrs: Sequence[float],
        losses_raw: Sequence[float],
        smoothed: Sequence[float],
        *,
        num_steps: int,
    ) -> "RecordedCurve":
        """The record with its zero-lag curve.

        Raises:
            InvalidInputError: lengths differ, or the rates do not ascend within 1e-30 to 1e30.
        """
        x, y, s = (np.asarray(column, dtype=np.float64) for column in (lrs, losses_raw, smoothed))
        if not len(x) == len(y) == len(s):
            raise InvalidInputError("losses", f"{len(x)} rates, {len(y)} losses, {len(s)} smoothed")
        if not np.all((x >= LEAST_RATE) & (x <= 1 / LEAST_RATE)) or not np.all(np.diff(x) > 0):
            raise InvalidInputError("lrs", "the rates must ascend within 1e-30 to 1e30")
        y, s, width = _nan_unless_finite(y), _nan_unless_finite(s), width_steps(x)
        return cls(x, y, s, zero_lag(y, width=width), width, num_steps)

    def for_fastais_rules(self, trim: Trim) -> range:
        """The steps that fastai's rules may read: not the last five."""
        return lr_rules.usable(self.smoothed, num_steps=self.num_steps, trim=trim)

    def for_zero_lag_rules(self, trim: Trim) -> range:
        """The same without the last twentieth of the sweep, as five are of 100 steps; at least 1.

        Five of 20 steps would be two decades, the minimum often among them.
        """
        dropped = max(1, self.num_steps // 20)
        return lr_rules.usable(
            self.smoothed, num_steps=self.num_steps, trim=trim, dropped_at_end=dropped
        )

    def descent(self, steps: range) -> Descent:
        """How the zero-lag curve falls within these steps.

        Raises:
            NoAnswerError: there are fewer than 8 finite points.
        """
        inside = slice(steps.start, steps.stop)
        return descent(self.raw[inside], self.zero_lag[inside], width=self.width)

    def reason(self, reason: str, steps: range) -> str:
        """The code for too few points, made more exact by how the record ended."""
        if reason != "too_few_points":
            return reason
        first = steps.start if steps.start < len(self.smoothed) else 0
        if not np.isfinite(self.smoothed[first:]).any():
            return "no_finite_loss"
        last, best = self.smoothed[-1], np.nanmin(self.smoothed)
        diverged = self._ended_early and not last <= DIVERGED_FACTOR * best
        return "diverged_at_once" if diverged else reason

    def edge(self, fallen: Descent | None, steps: range) -> Edge | None:
        """Which end of these steps the lowest loss stands at, when nothing bounds it there.

        Where the sweep ended early the curve's last points hold some of the loss that ended it, so
        that the lowest may stand a width of the Gaussian before the end.
        """
        if fallen is None or fallen.is_flat:
            return None
        if fallen.lowest == 0:
            return "low"
        before = ceil(self.width) if self._ended_early else 0
        if fallen.lowest < len(steps) - 1 - before:
            return None
        return "cut_short" if self._ended_early else "high"

    @property
    def _ended_early(self) -> bool:
        return len(self.lrs) < self.num_steps


def fallen(curve: RecordedCurve, steps: range) -> Descent | None:
    """The fall within the steps; None when there are too few."""
    try:
        return curve.descent(steps)
    except NoAnswerError:
        return None


def _nan_unless_finite(losses: Floats) -> Floats:
    return np.where(np.abs(losses) <= np.finfo(np.float32).max, losses, np.nan)
