"""Whether the photos of a run lie in the memory of its GPU."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from ml.cache import Pixels
from ml.device import Resolved, autocast
from ml.originals import Originals
from ml.resident import ResidentPixels, upload

Place = Literal["device", "host"]

RESERVE_BYTES = 2**30
RESERVE_SHARE = 1.25
"""What training is left of a GPU's memory, as a multiple of what one step was seen to need.

The rest is for batches made ahead, evaluations, and what the allocator cannot use; with
`RESERVE_BYTES` for workspaces of the libraries.
"""
_ADAM_STATE = 2
"""Numbers that the optimiser keeps for each weight."""


def placed(
    parts: Sequence[Pixels],
    model: nn.Module,
    *,
    photos_at_once: int,
    size: int,
    precision: Resolved,
    device: torch.device,
) -> list[Pixels]:
    """The parts, in the memory of the GPU where they fit beside the training, the first ones first.

    What training needs is measured by one step of the model, which is left as it was. On the CPU,
    and where photos are read anew each time, nothing is placed.

    Args:
        parts: Photos of the run.
        model: On the device.
        photos_at_once: Most photos that go through the network together.
        size: Side of the images, in pixels.
        precision: Number format of the forward pass.
        device: Where the model computes.
    """
    if device.type != "cuda" or all(isinstance(part, Originals) for part in parts):
        return list(parts)
    step_bytes = _step_bytes(model, (photos_at_once, 3, size, size), precision, device)
    torch.cuda.empty_cache()
    left = most_bytes(free=torch.cuda.mem_get_info(device)[0], step=step_bytes)
    found = []
    for part in parts:
        resident = None if isinstance(part, Originals) else upload(part, device, most_bytes=left)
        if resident is not None:
            left -= resident.laid_out.flat.numel()
        found.append(part if resident is None else resident)
    return found


def most_bytes(*, free: int, step: int) -> int:
    """What photos may take of the memory that is free, beside training with steps of so much."""
    return max(0, free - int(RESERVE_SHARE * step) - RESERVE_BYTES)


def place_of(pixels: Pixels, device: torch.device) -> dict[str, str | int]:
    """Where the photos lie, on a GPU; on the CPU there is one place only, and nothing to say."""
    if device.type == "cpu":
        return {}
    place: Place = "device" if isinstance(pixels, ResidentPixels) else "host"
    return {"pixels_in": place}


def _step_bytes(
    model: nn.Module, shape: tuple[int, int, int, int], precision: Resolved, device: torch.device
) -> int:
    """Most memory that a step of all weights takes: maps, gradients, the optimiser's numbers."""
    training = model.training
    held = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    images_BCHW = torch.zeros(shape, device=device).to(memory_format=torch.channels_last)
    # so that neither statistics nor random numbers move
    model.eval()
    with autocast(precision, device):
        logits_BC = model(images_BCHW)
    logits_BC.sum().backward()
    model.zero_grad(set_to_none=True)
    model.train(training)
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    return torch.cuda.max_memory_allocated(device) - held + _ADAM_STATE * weights
