"""A device that holds two photos of `SIDE_PX` at once; photos of any other side always fit.

Trainers are forked from a template that has loaded this module, so the whole way from torch's
error to the next attempt is the real one.
"""

import torch
from torch import Tensor

from ml.backbones import ImageClassifier

SIDE_PX = 96
FIT_AT_ONCE = 2
MESSAGE = "CUDA out of memory. Tried to allocate 20.00 MiB."

_forward = ImageClassifier.forward


def _forward_on_a_small_device(model: ImageClassifier, images: Tensor) -> Tensor:
    photos, side_px = images.shape[0], images.shape[-1]
    if side_px == SIDE_PX and photos > FIT_AT_ONCE:
        raise torch.OutOfMemoryError(MESSAGE)
    return _forward(model, images)


ImageClassifier.forward = _forward_on_a_small_device  # type: ignore[assignment]  # see above
