"""In which form a network's body takes the steps of a training, by what each was seen to take.

A form other than the eager one is prepared first: recorded as a CUDA graph, or compiled. It pays
where that takes less time than the steps that are left save. What a form takes is known once it
was tried, and a trial may not pay: it may take `TRIAL_SHARE` of the time that is left, and no more.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

StepForm = Literal["eager", "graphed", "compiled"]
"""``eager``: operation by operation. ``graphed``: all operations of a pass are started together.
``compiled``: so are kernels that a compiler has made of them, which read and write less."""

TRIAL_SHARE = 0.05
GUESSED_PREPARE_S: Mapping[StepForm, float] = {"graphed": 3.0, "compiled": 90.0}
"""What preparing takes, as guessed until it was seen; those that are tried first come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a form was seen to take, in seconds."""

    prepare_s: float
    step_s: float
    """Of one step, all that belongs to it included."""

    def __post_init__(self) -> None:
        """Refuse times that no form can take."""
        if not (0 <= self.prepare_s < math.inf and 0 < self.step_s < math.inf):
            raise ValueError(f"{self} has times that are not finite or not above 0")


def best_form(
    seen: Mapping[StepForm, Seen], *, now: StepForm, usable: Collection[StepForm], steps_left: int
) -> StepForm:
    """The form in which the steps left are expected to be over first.

    Args:
        seen: What each form takes, as far as that is known.
        now: The form that needs no preparing; it stays until the eager one was seen.
        usable: The forms to choose from, the eager one among them.
        steps_left: 1 or more.
    """
    if "eager" not in seen:
        return now
    left_s = {
        form: (0 if form == now else found.prepare_s) + steps_left * found.step_s
        for form, found in seen.items()
        if form in usable
    }
    best = min(left_s, key=left_s.__getitem__)
    for form, guess_s in GUESSED_PREPARE_S.items():
        if form in usable and form not in seen and guess_s <= TRIAL_SHARE * left_s[best]:
            return form
    return best
