"""AdamW as fastai's Adam: one rate for each layer group, momentum scheduled, norms undecayed."""

from collections.abc import Sequence

import torch
from torch import nn

from ml.backbones import ImageClassifier
from ml.config import RatePer
from ml.layer_groups import GroupedParameter, blocks, layer_groups

SQUARE_MOMENTUM = 0.99
EPS = 1e-5
MOMENTUM = 0.9


def make_optimizer(
    model: ImageClassifier, *, weight_decay: float, rate_per: RatePer = "layer_group"
) -> torch.optim.AdamW:
    """A fresh optimiser over all weights; those without a gradient are left alone by its steps.

    Each layer group or block gives up to two parameter groups, with and without decay, which
    carry its number as ``layer_group``.
    """
    parts = blocks(model) if rate_per == "block" else layer_groups(model)
    groups = [
        {"params": tensors, "layer_group": number, "weight_decay": decay}
        for number, members in enumerate(parts)
        for tensors, decay in _split(members, weight_decay)
        if tensors
    ]
    return adamw(groups)


def adamw(groups: Sequence[dict[str, object]]) -> torch.optim.AdamW:
    """Decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101) with fastai's numbers.

    Fused: one kernel for all weights, on the CPU as well as on CUDA.
    """
    return torch.optim.AdamW(
        [dict(group) for group in groups],
        lr=0.0,
        betas=(MOMENTUM, SQUARE_MOMENTUM),
        eps=EPS,
        fused=True,
    )


def set_rates(optimizer: torch.optim.AdamW, lrs: Sequence[float], momentum: float) -> None:
    """The next step uses these rates, one for each layer group or block, and this momentum."""
    for group in optimizer.param_groups:
        group["lr"] = lrs[group["layer_group"]]
        group["betas"] = (momentum, SQUARE_MOMENTUM)


def _split(
    members: Sequence[GroupedParameter], weight_decay: float
) -> tuple[tuple[list[nn.Parameter], float], tuple[list[nn.Parameter], float]]:
    decayed = [member.parameter for member in members if member.decays]
    undecayed = [member.parameter for member in members if not member.decays]
    return (decayed, weight_decay), (undecayed, 0.0)
