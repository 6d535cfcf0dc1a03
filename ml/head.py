"""The new classifier on top of a pretrained body, as fastai builds it.

Shapes: B = batch, C = channels, H, W = feature map, K = classes.
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

HIDDEN = (512,)
DROPOUT = 0.5
NORM_BIAS = 1e-3
LAST_MOMENTUM = 0.01


class ConcatPool(nn.Module):
    """The largest value of each channel, then the mean of each channel: C channels become 2 C.

    Written with ``max`` over the flattened map because adaptive max pooling has no deterministic
    gradient on CUDA.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pool to shape (B, 2 C, 1)."""
        x_BCP = x_BCHW.flatten(2)
        return torch.cat([x_BCP.max(-1, keepdim=True).values, x_BCP.mean(-1, keepdim=True)], dim=1)


def create_head(  # noqa: PLR0913  (one argument for each choice that fastai leaves)
    features: int,
    num_classes: int,
    *,
    pooled: bool = True,
    hidden: Sequence[int] = HIDDEN,
    dropout: float | Sequence[float] = DROPOUT,
    linear_first: bool = False,
    norm_last: bool = False,
) -> nn.Sequential:
    """Pooling of a map, then blocks of batch norm, dropout and a linear layer without bias.

    Args:
        features: Channels of the body's last map, or length of its vector.
        num_classes: Outputs.
        pooled: The body gives maps, to be pooled; else vectors, taken as they are.
        hidden: Widths between; a ReLU follows each.
        dropout: Of the last block, the others have half of it; or one value for each block.
        linear_first: Norms follow the linear layers; then only the last one has a bias.
        norm_last: A batch norm follows the last layer, too; it hardly forgets (momentum 0.01).
    """
    pooling = (ConcatPool(), nn.Flatten()) if pooled else ()
    widths = [2 * features if pooled else features, *hidden, num_classes]
    rates = _dropout_rates(dropout, len(widths) - 1)
    blocks = _linear_first(widths, rates) if linear_first else _norm_first(widths, rates)
    after = (nn.BatchNorm1d(num_classes, momentum=LAST_MOMENTUM),) if norm_last else ()
    head = nn.Sequential(*pooling, *blocks, *after)
    initialise_head(head)
    return head


def pooling_and_rest(head: nn.Sequential) -> tuple[nn.Sequential, nn.Sequential]:
    """The layers of the head that look at each row by itself first, and those that follow."""
    count = 2 if isinstance(head[0], ConcatPool) else 0
    return head[:count], head[count:]


def initialise_head(head: nn.Module) -> None:
    """Linear layers are drawn as He et al. 2015 (arXiv:1502.01852) propose; norms start neutral.

    The bias of a norm layer is 1e-3, as in fastai.
    """
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d):
            nn.init.ones_(module.weight)
            nn.init.constant_(module.bias, NORM_BIAS)


def _dropout_rates(dropout: float | Sequence[float], blocks: int) -> list[float]:
    if isinstance(dropout, Sequence):
        return list(dropout)
    return [dropout / 2] * (blocks - 1) + [dropout]


def _norm_first(widths: Sequence[int], rates: Sequence[float]) -> Iterator[nn.Module]:
    for block, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        yield nn.BatchNorm1d(inputs)
        yield nn.Dropout(rates[block])
        yield nn.Linear(inputs, outputs, bias=False)
        if block < len(rates) - 1:
            yield nn.ReLU(inplace=True)


def _linear_first(widths: Sequence[int], rates: Sequence[float]) -> Iterator[nn.Module]:
    for block, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        last = block == len(rates) - 1
        yield nn.Dropout(rates[block])
        yield nn.Linear(inputs, outputs, bias=last)
        if not last:
            yield nn.ReLU(inplace=True)
            yield nn.BatchNorm1d(outputs)
