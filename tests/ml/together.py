"""Processes that train together, as the tests start them; each tells what it has seen."""

import multiprocessing
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.ops import StochasticDepth

from ml import checkpoint, lr_range
from ml.backbones import ImageClassifier
from ml.config import LrRangeConfig, ModelConfig
from ml.head import create_head
from ml.lr_range import find_lr
from ml.progress import Command
from ml.ranks import ALONE, Ranks, joined
from ml.train import fine_tune
from tests.ml.fakes import RememberingListener
from tests.ml.tiny_nets import CLASSES, NAME, Bench, StillPixels, data, photos

CPU = torch.device("cpu")
COUNT = 2
"""Processes."""


class RandomBench(Bench):
    """The tiny network with all that looks at whole batches: norms, dropout, dropped branches."""

    def net(self, seed: int) -> ImageClassifier:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            body = nn.Sequential(
                OrderedDict(low=_part(3), mid=nn.Sequential(_part(4), StochasticDepth(0.3, "row")))
            )
            head = create_head(4, CLASSES, hidden=(8,))
        return ImageClassifier(body, head, self.row).to(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One fine-tune: its configuration, photos, the step at which it is left, and its files."""

    changes: dict[str, Any] = field(default_factory=dict)
    train: int = 13
    valid: int = 7
    pieces: int = 1
    leave_at: int | None = None
    keep: Path | None = None
    resume: Path | None = None


@dataclass(slots=True)
class Seen:
    """What a process has seen of a course; the first one's listener has heard all of it."""

    losses: list[float]
    epochs: list[list[float]]
    """Mean losses of training and validation, as far as there are photos for them."""
    sample_losses: list[list[float]]
    weights: dict[str, NDArray[np.float32]]
    status: str
    resolved: dict[str, str | int]


def trained(course: Course, ranks: Ranks = ALONE, device: torch.device = CPU) -> Seen:
    """What comes of the course in this process."""
    listener = RememberingListener()
    if course.leave_at is not None:
        listener.commands = {course.leave_at: Command.LEAVE}
    with pytest.MonkeyPatch.context() as patches:
        bench = RandomBench(patches)
        outcome = fine_tune(
            bench.config(**course.changes),
            train=photos(course.train),
            valid=photos(course.valid),
            pixels=StillPixels(course.train),
            valid_pixels=StillPixels(course.valid),
            listener=listener,
            device=device,
            resume=None if course.resume is None else checkpoint.load(course.resume),
            pieces=course.pieces,
            ranks=ranks,
        )
    if course.keep is not None and listener.states:
        checkpoint.save(course.keep, listener.states[-1])
    return Seen(
        losses=[step.loss for step in listener.steps],
        epochs=[
            [loss for loss in (epoch.train_loss, epoch.valid_loss) if loss is not None]
            for epoch in listener.epochs
        ],
        sample_losses=[
            [] if epoch.sample_losses is None else epoch.sample_losses.tolist()
            for epoch in listener.epochs
        ],
        weights={name: each.cpu().numpy() for name, each in outcome.model.state_dict().items()},
        status=outcome.status,
        resolved=outcome.resolved,
    )


def swept(sweep: str, ranks: Ranks = ALONE) -> list[tuple[float, ...]]:
    """The losses of each sweep of a range test in this process."""
    with pytest.MonkeyPatch.context() as patches:
        bench = RandomBench(patches)
        patches.setattr(lr_range, "build_model", lambda config, *, seed: bench.net(seed))
        found = find_lr(
            LrRangeConfig(
                model=ModelConfig(architecture=NAME, weights="none", num_classes=CLASSES),
                data=data(batch_size=5),
                start_lr=1e-3,
                num_steps=20,
                sweep=sweep,  # type: ignore[arg-type]  # one of its literals
                precision="fp32",
            ),
            photos(13),
            StillPixels(13),
            listener=RememberingListener(),
            device=CPU,
            ranks=ranks,
        )
    return [sweep.losses for sweep in found.sweeps]


def trained_on_gpu(course: Course, ranks: Ranks = ALONE) -> Seen:
    """As `trained`, on a GPU of this process's own."""
    return trained(course, ranks, torch.device("cuda", ranks.number))


def by_all(work: Callable[[Ranks], Any], folder: Path, *, kind: str = "cpu") -> list[Any]:
    """What the work gives in each of the processes, which have met for it."""
    forkserver.set_forkserver_preload([__name__])
    context = multiprocessing.get_context("forkserver")
    meeting = folder / "meeting"
    pipes, processes = [], []
    for number in range(COUNT):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_meet, args=(number, meeting, kind, work, theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        return [pipe.recv() for pipe in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _meet(
    number: int,
    meeting: Path,
    kind: str,
    work: Callable[[Ranks], Any],
    answer: Connection,
) -> None:
    torch.set_num_threads(1)
    device = CPU if kind == "cpu" else torch.device(kind, number)
    answer.send(work(joined(number, COUNT, meeting=meeting, device=device)))
    # whoever ended first would cut off the other one
    threading.Event().wait()


def _part(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
