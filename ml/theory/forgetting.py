"""What became of each sample while a network trained: learned, forgotten, or neither.

Toneva et al. 2019, arXiv:1812.05159: a sample is forgotten where it goes from right to wrong. There
it is looked at whenever it is in a training batch; here once after each epoch, so that validation
samples have a history, too.

Shapes: N = samples, E = moments, the last of which is the model that is kept.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from ml.theory.errors import InvalidInputError


class Learning(StrEnum):
    """The four ways; the first two end right, the last two wrong."""

    LEARNED = "learned"
    FLIPPED = "flipped"
    FORGOTTEN = "forgotten"
    NEVER_LEARNED = "never_learned"


@dataclass(frozen=True, slots=True)
class Histories:
    """What became of the samples, in their order."""

    learning: tuple[Learning, ...]
    forgetting_events: npt.NDArray[np.int64]
    """(N,): how often each went from right to wrong."""


def histories(correct_NE: npt.ArrayLike) -> Histories:
    """What became of each sample that was right or wrong at these moments.

    ``learned`` ends right and was never forgotten, ``flipped`` ends right after it was forgotten,
    ``forgotten`` was right once and ends wrong, ``never_learned`` was wrong each time.

    Raises:
        InvalidInputError: there is no moment.
    """
    correct = np.asarray(correct_NE, dtype=bool)
    if correct.ndim != 2 or correct.shape[1] == 0:
        raise InvalidInputError("correct", f"shape is {correct.shape}; it has samples and moments")
    events = (correct[:, :-1] & ~correct[:, 1:]).sum(axis=1)
    ends_right, was_right = correct[:, -1], correct.any(axis=1)
    names = np.where(
        ends_right,
        np.where(events > 0, Learning.FLIPPED, Learning.LEARNED),
        np.where(was_right, Learning.FORGOTTEN, Learning.NEVER_LEARNED),
    )
    return Histories(tuple(Learning(name) for name in names.tolist()), events.astype(np.int64))
