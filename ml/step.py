"""One step of training. Shapes: B = batch."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # torch's own customary name
from torch.nn.parallel import DistributedDataParallel

from ml.backbones import ImageClassifier
from ml.device import Resolved, autocast
from ml.ranks import ALONE, Ranks, Rows
from ml.shared_layers import tell_rows

# torch 2.13 has renamed it
_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(DistributedDataParallel).parameters
)


@dataclass(frozen=True, slots=True)
class Batch:
    """Images and labels on the training device."""

    images: Tensor
    """(B, 3, H, W), channels last."""
    labels: Tensor
    """(B,), int64."""
    share: float = 1.0
    """What part of its step's loss the mean loss of this batch is."""
    rows: Rows | None = None
    """Which rows of a batch that several processes share."""

    def record_stream(self, s: torch.Stream) -> None:
        """As a tensor's."""
        self.images.record_stream(s)
        self.labels.record_stream(s)


@dataclass(frozen=True, slots=True)
class Stepper:
    """What stays the same from step to step."""

    model: ImageClassifier
    optimizer: torch.optim.AdamW
    scaler: torch.amp.GradScaler
    precision: Resolved
    label_smoothing: float
    class_weights: Tensor | None = None
    """(C,), float32, on the training device; the loss is sum(weight * loss) / sum(weight)."""
    ranks: Ranks = ALONE
    replica: DistributedDataParallel | None = None
    """The model, with gradients that are the mean over several processes."""

    def __call__(self, batch: Batch) -> Tensor:
        """As `together`, with a single batch."""
        return self.together((batch,))

    def together(self, batches: Iterable[Batch]) -> Tensor:
        """The mean loss before the step, a float32 scalar left on the device; the step is taken.

        The batches of one step come one after the other, so that the memory of one is enough.
        Where processes share them the loss is that of all their rows.
        """
        losses = [self._backward(batch, is_last=is_last) for batch, is_last in _marked(batches)]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return self.ranks.summed(losses[0] if len(losses) == 1 else torch.stack(losses).sum())

    def _backward(self, batch: Batch, *, is_last: bool) -> Tensor:
        """The batch's part of the loss; its gradients are added to what is there."""
        if self.replica is None:
            return self._gradients(self.model, batch)
        tell_rows(self.model, batch.rows)
        # gradients of several batches are exchanged once
        with contextlib.nullcontext() if is_last else self.replica.no_sync():
            return self._gradients(self.replica, batch)

    def _gradients(self, model: nn.Module, batch: Batch) -> Tensor:
        # Only the forward pass is autocast; the loss and the gradients choose their own types.
        with autocast(self.precision, batch.images.device):
            logits_BK = model(batch.images)
        loss = F.cross_entropy(
            logits_BK,
            batch.labels,
            weight=self.class_weights,
            label_smoothing=self.label_smoothing,
        )
        loss = loss * batch.share
        # the mean over processes of what is as many times too large is the sum
        summed = loss * self.ranks.count
        self.scaler.scale(summed).backward()  # type: ignore[no-untyped-call]  # torch's own gap
        return loss.detach()


def _marked(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether it is the last one."""
    ahead = iter(batches)
    batch = next(ahead, None)
    while batch is not None:
        following = next(ahead, None)
        yield batch, following is None
        batch = following


def replicated(
    model: ImageClassifier, ranks: Ranks, device: torch.device
) -> DistributedDataParallel | None:
    """The model as all processes train it from the same weights; None where there is only one."""
    if ranks.is_alone:
        return None
    # running statistics are those of whole batches, and so the same everywhere
    without_buffers: dict[str, Any] = {_BUFFERS: False}
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **without_buffers,
    )


def make_scaler(precision: Resolved, device: torch.device) -> torch.amp.GradScaler:
    """Loss scaling for fp16 (Micikevicius et al. 2018, arXiv:1710.03740); idle otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
