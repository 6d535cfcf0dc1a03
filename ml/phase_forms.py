"""The steps of one phase on a GPU, in the form that ends it first.

Between two epochs nobody else uses the GPU: there the phase may change to another form. What forms
were seen to take is kept in a file for each kind of step, so that a later training of the same kind
begins as this one ends.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from ml.backbones import ImageClassifier
from ml.body_forms import free_unused, prepared, usable_forms
from ml.device import Resolved
from ml.inputs import Inputs
from ml.placement import place_of
from ml.progress import Listener
from ml.step import Stepper
from ml.step_times import StepTimes
from ml.theory.step_forms import Seen, StepForm, best_form
from ml.training_batches import TrainingBatches

LEAST_INTERVALS = 3
"""Between losses that come in, from which a typical time of a step is taken."""


@dataclass(slots=True, kw_only=True)
class PhaseForms:
    """What takes the steps of a phase, first in the eager form."""

    eager: Stepper
    shape: tuple[int, int, int, int]
    """Of the images of every batch: photos, channels, height, width."""
    device: torch.device
    usable: Sequence[StepForm]
    """The forms to choose from, the eager one among them."""
    times: StepTimes | None
    """What forms were seen to take; None where there is nothing to choose."""
    listener: Listener
    now: StepForm = "eager"
    stepper: Stepper = field(init=False)
    """What takes the steps now."""
    seen: dict[StepForm, Seen] = field(init=False)
    _prepare_s: float = 0.0
    _paces_s: list[float] = field(default_factory=list)
    _last_s: float | None = None

    def __post_init__(self) -> None:
        """It is looked up what earlier trainings have seen."""
        self.seen = self.times.read() if self.times else {}
        self.stepper = self.eager

    @property
    def resolved(self) -> dict[str, str | int]:
        """The form of the last steps on a GPU; on the CPU there is one form, and nothing to say."""
        return {} if self.device.type == "cpu" else {"compile": self.now}

    def epoch_begins(self, steps_left: int) -> None:
        """What takes the next steps, of so many left of the phase, is chosen; none is under way.

        A form that cannot be prepared is warned of, and not tried again in this phase.
        """
        while (form := self._best(steps_left)) != self.now:
            self.go_eager()
            if form != "eager":
                self._prepare(form)
        self._last_s = None

    def go_eager(self) -> None:
        """The next steps are eager, and what another form has held is free."""
        self.now, self.stepper, self._prepare_s = "eager", self.eager, 0.0
        self._paces_s = []
        if self.times is not None:
            free_unused()

    def arrived(self, losses: int) -> None:
        """So many more losses came in together, or none."""
        if self.times is None or losses == 0:
            return
        now_s = time.perf_counter()
        if self._last_s is not None:
            self._paces_s.append((now_s - self._last_s) / losses)
        self._last_s = now_s

    def epoch_ends(self) -> None:
        """What a step took is remembered, once enough of them were seen to tell."""
        if self.times is None or len(self._paces_s) < LEAST_INTERVALS:
            return
        step_s = statistics.median(self._paces_s)
        self.seen[self.now] = Seen(prepare_s=self._prepare_s, step_s=step_s)
        self.times.write(self.seen)

    def _best(self, steps_left: int) -> StepForm:
        return best_form(self.seen, now=self.now, usable=self.usable, steps_left=steps_left)

    def _prepare(self, form: StepForm) -> None:
        images_BCSS = torch.zeros(self.shape, device=self.device)
        images_BCSS = images_BCSS.to(memory_format=torch.channels_last)
        began_s = time.perf_counter()
        model = self.eager.model
        try:
            body = prepared(model.body, form, images_BCSS, self.eager.precision)
        except Exception as error:  # noqa: BLE001  # whatever it is, eager steps go on
            self.usable = [each for each in self.usable if each != form]
            self.listener.warning("form_not_prepared", f"no step is {form}: {_first_line(error)}")
        else:
            self._prepare_s = time.perf_counter() - began_s
            formed = ImageClassifier(body, model.head, model.architecture)
            self.now, self.stepper = form, replace(self.eager, model=formed)
        if self.now != form:
            # a recording that has failed is not held by its error any more
            free_unused()


def phase_forms(
    stepper: Stepper, inputs: Inputs, batches: TrainingBatches, precision: Resolved
) -> PhaseForms:
    """Those of the phase for which the stepper was made."""
    device, size = inputs.device, inputs.config.data.size
    usable = usable_forms(stepper.model.body, device)
    # each backward pass of another form overwrites the gradients of the one before
    adds_up = batches.per_step > 1 or not inputs.ranks.is_alone
    if inputs.step_times is None or adds_up or len(usable) == 1:
        usable, times = ("eager",), None
    else:
        times = StepTimes(inputs.step_times, _kind(stepper, inputs, batches, precision))
    return PhaseForms(
        eager=stepper,
        shape=(batches.batch_size, 3, size, size),
        device=device,
        usable=usable,
        times=times,
        listener=inputs.listener,
    )


def _kind(
    stepper: Stepper, inputs: Inputs, batches: TrainingBatches, precision: Resolved
) -> dict[str, str | int]:
    """All that decides what a step takes."""
    weights = stepper.model.parameters()
    return {
        **batches.environment(precision),
        **place_of(inputs.pixels, inputs.device),
        "gpu": torch.cuda.get_device_name(inputs.device),
        "architecture": inputs.config.model.architecture,
        "classes": inputs.config.model.num_classes,
        "size": inputs.config.data.size,
        "trained": sum(weight.numel() for weight in weights if weight.requires_grad),
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
