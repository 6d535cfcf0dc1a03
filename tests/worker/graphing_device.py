"""A CPU that has CUDA graphs, by name, for trainings with images of `SIDE_PX`.

Trainers are forked from a template that has loaded this module.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ml import phase_forms, training_run
from ml.device import Resolved
from ml.inputs import Inputs
from ml.phase_forms import PhaseForms
from ml.step import Stepper
from ml.theory.step_forms import StepForm

SIDE_PX = 80
NAME = "a CPU that has graphs"

_made = phase_forms.phase_forms


def _on_a_graphing_device(stepper: Stepper, inputs: Inputs, *others: Any) -> PhaseForms:  # noqa: ANN401
    if inputs.config.data.size == SIDE_PX:
        patched: Any = phase_forms
        patched.usable_forms, patched.prepared = _with_graphs, _graphed_in_name
        torch.cuda.get_device_name = lambda device=None: NAME
    return _made(stepper, inputs, *others)


def _with_graphs(body: nn.Module, device: torch.device) -> tuple[StepForm, ...]:
    return ("eager", "graphed")


def _graphed_in_name(
    body: nn.Module, form: StepForm, images: Tensor, precision: Resolved
) -> nn.Module:
    return body


training: Any = training_run
training.phase_forms = _on_a_graphing_device
