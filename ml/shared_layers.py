"""Layers that look at a whole batch, of which each process has some rows only.

Batch norms take the mean and variance of all rows, and what layers draw at random is drawn for all
rows by every process, which then takes its own. So processes that train together take the steps of
a single one, up to the order in which numbers are added. Shapes: B = rows here, C = channels.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own customary name
from torchvision.ops import StochasticDepth

from ml.backbones import ImageClassifier
from ml.ranks import Ranks, Rows
from ml.row_threads import SEES_WHOLE_BATCH, draws_noise


def share_layers(model: ImageClassifier, ranks: Ranks) -> None:
    """The model's layers see whole batches; its weights and their names stay what they are."""
    if ranks.is_alone:
        return
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, SEES_WHOLE_BATCH):
                setattr(parent, name, _shared_norm(child))
            elif draws_noise(child):
                setattr(parent, name, SharedNoise(child))


def tell_rows(model: ImageClassifier, rows: Rows | None) -> None:
    """The next batch is these rows of the whole one."""
    for module in model.modules():
        if isinstance(module, SharedNoise):
            module.rows = rows


class SharedNoise(nn.Module):
    """A layer that multiplies its input by random numbers: those that a single process draws."""

    rows: Rows | None = None

    def __init__(self, layer: nn.Dropout | StochasticDepth) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The rows here times their part of the noise of all rows; in evaluation the rows."""
        if not self.training or self.rows is None:
            return x
        is_per_row = isinstance(self.layer, StochasticDepth)
        shape = [1] * (x.ndim - 1) if is_per_row else list(x.shape[1:])
        noise: Tensor = self.layer(x.new_ones([self.rows.whole, *shape]))
        return x * noise[self.rows.start : self.rows.stop]


class HostSyncBatchNorm(nn.BatchNorm2d):
    """`nn.SyncBatchNorm` for the CPU, which torch has for GPUs only."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the rows of all processes together; x is any (B, C, …)."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        dims, wide = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
        rows = x.float()
        count = float(_sum(torch.tensor(float(x.numel() // x.shape[1]))))
        mean_C = _sum(rows.sum(dims)) / count
        centred = rows - mean_C.view(wide)
        variance_C = _sum(centred.square().sum(dims)) / count
        self._remember(mean_C.detach(), variance_C.detach() * (count / max(count - 1, 1)))
        scale_C = (variance_C + self.eps).rsqrt() * self.weight
        return (centred * scale_C.view(wide) + self.bias.view(wide)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C, self.momentum)


def _shared_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    on_gpu = layer.weight.device.type == "cuda"
    kind: type[HostSyncBatchNorm | nn.SyncBatchNorm]
    kind = nn.SyncBatchNorm if on_gpu else HostSyncBatchNorm
    shared = kind(
        layer.num_features,
        eps=layer.eps,
        momentum=layer.momentum,
        affine=layer.affine,
        track_running_stats=layer.track_running_stats,
    )
    shared.weight, shared.bias = layer.weight, layer.bias
    shared.running_mean, shared.running_var = layer.running_mean, layer.running_var
    shared.num_batches_tracked = layer.num_batches_tracked
    return shared.train(layer.training)


class _Sum(torch.autograd.Function):
    """The sum over all processes; what it does to one of them, all of them feel."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ANN401  # torch's own context
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:  # noqa: ANN401
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total


def _sum(part: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(part)
    return total
