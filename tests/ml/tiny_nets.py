"""A network of a few hundred weights that goes through the real training loop in milliseconds.

Its parts have the names of the net whose training is recorded in ``one_cycle``: ``low``, ``mid``
and ``out``, of which the first two have a convolution and a norm layer each.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from ml import training_run
from ml.backbones import ImageClassifier
from ml.cache import Pixels
from ml.config import AugmentConfig, DataConfig, FineTuneConfig, ModelConfig
from ml.head import ConcatPool
from ml.images import Rgb
from ml.photos import LabelledPhoto
from ml.theory import architectures
from ml.theory.architectures import Architecture
from ml.train import FineTuneOutcome, fine_tune
from ml.training_state import TrainingState
from tests.ml.fakes import RememberingListener

NAME = "tiny"
CLASSES = 3
SIZE_PX = 8
CPU = torch.device("cpu")
GROUPS_OF = {1: (), 2: (("low", "mid"),), 3: (("low",), ("mid",))}


class StillPixels(Pixels):
    """Photos of 12 x 10 px and more, made of noise, that lie in memory."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(count)
        self._photos = [rng.integers(0, 256, (10, 12 + n % 3, 3), np.uint8) for n in range(count)]

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def photo(self, position: int) -> Rgb:
        return self._photos[position]

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One weight tensor at one optimiser step."""

    lr: float
    momentum: float
    square_momentum: float
    eps: float
    weight_decay: float
    gradient: Tensor | None
    before: Tensor
    after: Tensor
    count: int
    """Steps that the optimiser has taken with it since it is new; 0 when it left it alone."""


@dataclass(slots=True)
class Course:
    """What a run did, step by step."""

    outcome: FineTuneOutcome
    listener: RememberingListener
    steps: list[dict[str, Seen]]
    """Every weight by its name, in each optimiser step."""
    logits: list[tuple[bool, Tensor]] = field(default_factory=list)
    """Of each pass forward, and whether it was one of training."""

    @property
    def training_logits(self) -> list[Tensor]:
        return [logits for trains, logits in self.logits if trains]

    @property
    def weights(self) -> dict[str, Tensor]:
        return self.outcome.model.state_dict()


class Bench:
    """Trains the tiny network on photos of noise through `ml.train.fine_tune`."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, groups: int = 3, norms: bool = True
    ) -> None:
        self.groups, self.norms = groups, norms
        self.row = _row(groups)
        self.logits: list[tuple[bool, Tensor]] = []
        monkeypatch.setattr(architectures, "get", lambda name: self.row)
        monkeypatch.setattr(training_run, "build_model", lambda config, *, seed: self.net(seed))
        monkeypatch.setattr(training_run, "empty_model", lambda name, classes: self.net(0))

    def net(self, seed: int) -> ImageClassifier:
        """The network before its first step."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = _net(self.row, groups=self.groups, norms=self.norms)
        net.register_forward_hook(self._remember)
        return net.to(memory_format=torch.channels_last)

    def config(self, **changes: Any) -> FineTuneConfig:  # noqa: ANN401  # any field
        """One frozen and two unfrozen epochs in batches of four."""
        peaks = tuple(1e-3 * 10.0**group for group in range(1 - self.groups, 1))
        fields = {
            "model": ModelConfig(architecture=NAME, weights="none", num_classes=CLASSES),
            "data": data(),
            "epochs": 2,
            "frozen_peaks": peaks,
            "unfrozen_peaks": peaks,
            "precision": "fp32",
            "seed": 5,
            **changes,
        }
        return FineTuneConfig(**fields)

    def run(
        self,
        config: FineTuneConfig,
        *,
        train: Sequence[LabelledPhoto],
        valid: Sequence[LabelledPhoto] = (),
        listener: RememberingListener | None = None,
        resume: TrainingState | None = None,
        step_times: Path | None = None,
        device: torch.device = CPU,
    ) -> Course:
        """The course of one run."""
        listener = listener or RememberingListener()
        self.logits = []
        with _watched() as steps:
            outcome = fine_tune(
                config,
                train=train,
                valid=valid,
                pixels=StillPixels(len(train)),
                valid_pixels=StillPixels(len(valid)),
                listener=listener,
                device=device,
                resume=resume,
                step_times=step_times,
            )
        name_of = {id(weight): name for name, weight in outcome.model.named_parameters()}
        named = [{name_of[key]: seen for key, seen in step.items()} for step in steps]
        return Course(outcome, listener, named, self.logits)

    def _remember(self, net: nn.Module, inputs: object, logits: Tensor) -> None:
        self.logits.append((net.training, logits.detach().clone()))


def data(*, batch_size: int = 4) -> DataConfig:
    """Images of 8 px."""
    return DataConfig(presize=SIZE_PX, size=SIZE_PX, batch_size=batch_size, augment=AugmentConfig())


def photos(count: int) -> list[LabelledPhoto]:
    """As many photos without files; their labels are 0, 1, 2, 0 and so on."""
    return [
        LabelledPhoto(
            item_id=str(number),
            path=Path(f"{number}.png"),
            digest=hashlib.sha256(str(number).encode()).hexdigest(),
            label=number % CLASSES,
        )
        for number in range(count)
    ]


def _row(groups: int) -> Architecture:
    return Architecture(
        name=NAME,
        family=NAME,
        features=4,
        vector_features=False,
        signed_input=False,
        body=("low", "mid") if groups > 1 else (),
        cut=(),
        groups=GROUPS_OF[groups],
        group_parameters=(),
        blocks=2,
        smallest_image_px=SIZE_PX,
        fixed_image_px=None,
        weights=MappingProxyType({}),
        default_weights="none",
    )


def _net(row: Architecture, *, groups: int, norms: bool) -> ImageClassifier:
    low, mid = (_part(channels, norms=norms) for channels in (3, 4))
    body = nn.Sequential(OrderedDict(low=low, mid=mid) if groups > 1 else OrderedDict())
    own = OrderedDict() if groups > 1 else OrderedDict[str, nn.Module](low=low, mid=mid)
    out = OrderedDict(pool=ConcatPool(), flat=nn.Flatten(), out=nn.Linear(8, CLASSES))
    return ImageClassifier(body, nn.Sequential(own | out), row)


def _part(channels: int, *, norms: bool) -> nn.Sequential:
    norm = nn.BatchNorm2d(4) if norms else nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), norm, nn.ReLU())


@contextmanager
def _watched() -> Iterator[list[dict[int, Seen]]]:
    """Every optimiser step is kept, its weights by their identity."""
    steps: list[dict[int, Seen]] = []
    before: dict[int, tuple[Tensor, Tensor | None]] = {}

    def begin(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        for weight in _weights(optimizer):
            gradient = None if weight.grad is None else weight.grad.clone()
            before[id(weight)] = (weight.detach().clone(), gradient)

    def end(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        steps.append(
            {
                id(weight): _seen(group, weight, optimizer.state[weight], *before[id(weight)])
                for group in optimizer.param_groups
                for weight in group["params"]
            }
        )

    hooks = (register_optimizer_step_pre_hook(begin), register_optimizer_step_post_hook(end))
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def _weights(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _seen(
    group: dict[str, Any],
    weight: Tensor,
    state: dict[str, Tensor],
    before: Tensor,
    gradient: Tensor | None,
) -> Seen:
    momentum, square_momentum = group["betas"]
    return Seen(
        lr=group["lr"],
        momentum=momentum,
        square_momentum=square_momentum,
        eps=group["eps"],
        weight_decay=group["weight_decay"],
        gradient=gradient,
        before=before,
        after=weight.detach().clone(),
        count=int(state["step"]) if state else 0,
    )
