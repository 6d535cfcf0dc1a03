"""What learning-rate finds, fine-tunes and evaluations share: device, photos, labels.

Importing this module loads the tensor library; the template process of a train worker does so
once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog
import torch

from jobs import checkpoints, curves
from jobs.dataset_spec import DatasetSpec
from ml import checkpoint
from ml.config import Precision
from ml.determinism import prefer_repeatable_kernels, tell_gaps
from ml.device import Resolved, pick_device, resolve_precision
from ml.errors import CheckpointCorruptError, CheckpointForeignError
from ml.photos import LabelledPhoto
from ml.ranks import ALONE, Ranks, joined
from ml.theory.label_mapping import LabelMapping, scored_as
from ml.theory.parts import PARTS
from ml.training_state import TrainingState
from worker.context import Context
from worker.failures import is_of_the_machine
from worker.findings import found_dataset
from worker.items import Item, read_items
from worker.listener import JobListener

ALL_PARTS = "all"
"""The part that holds the photos of every part."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a dataset: its items, and the same photos as a run wants them."""

    items: Sequence[Item]
    photos: Sequence[LabelledPhoto]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """A dataset ready for training; the position of a class is its index."""

    classes: tuple[str, ...]
    parts: dict[str, Part]
    dataset_digest: str | None = None
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Of each part the photos that have no class, by their label; only where there are some."""

    def part(self, name: str) -> Part:
        """The part of this name, or all of them together, in the order of the import."""
        return self.parts[name]


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a trainer computes, and with whom."""

    device: torch.device
    ranks: Ranks


def take_place(context: Context) -> Workplace:
    """The device of this trainer, which has met those that share the job with it."""
    settings, seat = context.settings, context.seat
    device = pick_device(settings.device)
    if device.type == "cuda" and settings.device_numbers:
        device = torch.device("cuda", settings.device_numbers[seat.number])
    if seat.meeting is None:
        return Workplace(device, ALONE)
    ranks = joined(seat.number, seat.count, meeting=seat.meeting, device=device)
    return Workplace(device, ranks)


def newest_checkpoint(context: Context, ranks: Ranks) -> TrainingState | None:
    """Where the attempt before has got to; None where the job begins anew.

    A checkpoint that went bad on the disk is told to clients, and the one before it is taken; the
    first of several trainers finds it for all.

    Raises:
        CheckpointForeignError: another version wrote it.
        CheckpointCorruptError: the disk cannot be read now.
    """
    path, state = _newest_readable(context) if ranks.is_first else (None, None)
    path = ranks.agreed(path)
    if path is None or ranks.is_first:
        return state
    return checkpoint.load(context.artifacts.fetched(context.artifacts.absolute(path)))


def _newest_readable(context: Context) -> tuple[str | None, TrainingState | None]:
    path = context.job.checkpoint
    while path is not None:
        try:
            file = context.artifacts.fetched(context.artifacts.absolute(path))
            return path, checkpoint.load(file)
        except CheckpointForeignError:
            raise
        except CheckpointCorruptError as problem:
            if is_of_the_machine(problem):
                raise
            log.warning("checkpoint_corrupt", path=path, reason=problem.reason)
            earlier = context.write(checkpoints.fall_back, bad=path, why=str(problem))
            path = None if earlier is None else earlier.path
    return None, None


def prepare_device(
    context: Context, place: Workplace, before: TrainingState | None = None
) -> torch.device:
    """The device to train on, with the settings that make runs repeatable.

    Trainers that share a job share the threads, too. An attempt that goes on computes with as many
    as the one ``before``, whatever the settings say by now.
    """
    threads = before and int(before.environment["torch_threads"])
    share = max(1, context.settings.compute_threads // place.ranks.count)
    torch.set_num_threads(threads or share)
    prefer_repeatable_kernels()
    tell_gaps(lambda kernel: _tell_gap(context, kernel))
    log.info("device", device=str(place.device), threads=torch.get_num_threads())
    return place.device


def _tell_gap(context: Context, kernel: str) -> None:
    context.tell(
        curves.record_warning,
        "not_repeatable",
        f"{kernel} may give other bits the next time: torch has no deterministic form of it here",
    )


def tell_precision(wished: Precision, device: torch.device, listener: JobListener) -> Resolved:
    """The precision that is used; clients are warned when it is not what they asked for."""
    used = resolve_precision(wished, device)
    if wished not in {"auto", used}:
        listener.warning(
            "precision_replaced", f"{wished} does not exist on {device.type}; {used} is used"
        )
    return used


def read_material(
    context: Context, *, classes: Sequence[str] | None = None, mapping: LabelMapping | None = None
) -> Material:
    """The usable photos of the job's dataset by part.

    Args:
        context: the attempt.
        classes: those of a trained model; None where the labels are the classes.
        mapping: what labels are scored as, where the model does not know them.

    Raises:
        JobFailedError: the dataset was deleted.
        LabelsMismatchError: it has labels that are scored as no class.
    """
    dataset = found_dataset(context)
    photos = {str(entry["label"]): int(entry["count"]) for entry in dataset.classes}
    names = tuple(classes or photos)
    class_of = scored_as(photos, names, mapping or {})
    place = {name: position for position, name in enumerate(names)}
    index = {label: place[name] for label, name in class_of.items() if name is not None}
    source = DatasetSpec.model_validate(dataset.spec).source
    folder = context.photos_folder(dataset.id, source)
    items = [item for item in read_items(context.items_file(dataset.id)) if item.split is not None]
    chosen: dict[str, list[Item]] = {
        name: [item for item in items if item.split == name] for name in PARTS
    }
    chosen[ALL_PARTS] = items
    return Material(
        classes=names,
        parts={name: _part(chosen[name], folder, index) for name in chosen},
        dataset_digest=dataset.digest,
        left_out=_left_out({name: chosen[name] for name in PARTS}, index),
    )


def _left_out(
    parts: Mapping[str, Sequence[Item]], index: Mapping[str, int]
) -> Mapping[str, Mapping[str, int]]:
    counts = {
        name: Counter(str(item.label) for item in items if str(item.label) not in index)
        for name, items in parts.items()
    }
    return {name: dict(sorted(count.items())) for name, count in counts.items() if count}


def _part(items: Sequence[Item], folder: Path, index: Mapping[str, int]) -> Part:
    """The items that have a class, and their photos."""
    scored = [item for item in items if str(item.label) in index]
    return Part(
        items=scored,
        photos=[
            LabelledPhoto(
                item_id=item.item_id,
                path=folder / item.path,
                digest=str(item.digest),
                label=index[str(item.label)],
            )
            for item in scored
        ],
    )
