"""One step of training. Shapes: B = batch."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own customary name

from ml.backbones import ImageClassifier
from ml.device import Resolved, autocast


@dataclass(frozen=True, slots=True)
class Batch:
    """Images and labels on the training device."""

    images: Tensor
    """(B, 3, H, W), channels last."""
    labels: Tensor
    """(B,), int64."""
    share: float = 1.0
    """What part of its step's loss the mean loss of this batch is."""

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

    def __call__(self, batch: Batch) -> Tensor:
        """As `together`, with a single batch."""
        return self.together((batch,))

    def together(self, batches: Iterable[Batch]) -> Tensor:
        """The mean loss before the step, a float32 scalar left on the device; the step is taken.

        The batches of one step come one after the other, so that the memory of one is enough.
        """
        losses = [self._backward(batch) for batch in batches]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return losses[0] if len(losses) == 1 else torch.stack(losses).sum()

    def _backward(self, batch: Batch) -> Tensor:
        """The batch's part of the loss; its gradients are added to what is there."""
        # Only the forward pass is autocast; the loss and the gradients choose their own types.
        with autocast(self.precision, batch.images.device):
            logits_BK = self.model(batch.images)
        loss = F.cross_entropy(
            logits_BK,
            batch.labels,
            weight=self.class_weights,
            label_smoothing=self.label_smoothing,
        )
        loss = loss * batch.share
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's own gap
        return loss.detach()


def make_scaler(precision: Resolved, device: torch.device) -> torch.amp.GradScaler:
    """Loss scaling for fp16 (Micikevicius et al. 2018, arXiv:1710.03740); idle otherwise."""
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")
