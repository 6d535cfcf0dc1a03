"""Logits of every photo, and what follows from them. Shapes: N = photos, C = classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ml.backbones import ImageClassifier
from ml.batch_images import validation_images
from ml.cache import Pixels
from ml.device import Resolved, autocast
from ml.errors import StoppedError
from ml.feed import fed
from ml.loader import ordered_batches
from ml.pending import Pending
from ml.photos import LabelledPhoto
from ml.progress import Command
from ml.ranks import ALONE, Ranks
from ml.theory.class_weights import weighted_losses

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Metrics:
    """How well the logits match the labels."""

    loss: float
    """Mean of ``sample_losses``, weighted by class where classes have weights."""
    accuracy: float
    """Share of photos whose largest logit is their label's, in [0, 1]; the first on ties."""
    sample_losses: NDArray[np.float64]
    sample_predictions: NDArray[np.int64]
    """Class of each photo's largest logit; the first on ties."""


def predict_logits(  # noqa: PLR0913  # each is a plain fact that callers hold separately
    model: ImageClassifier,
    pixels: Pixels,
    photos: Sequence[LabelledPhoto],
    *,
    size: int,
    batch_size: int,
    precision: Resolved,
    device: torch.device,
    command: Callable[[], Command],
    ranks: Ranks = ALONE,
) -> Logits:
    """Logits of all photos in order, shape (N, C); the model is in evaluation mode afterwards.

    ``command`` is asked after each batch; anything but LEAVE and ABANDON lets the pass go on. Of
    several processes each looks at its own rows of every batch, once, and all have all logits; they
    must be told the same by ``command``.

    Raises:
        StoppedError: ``command`` said LEAVE or ABANDON.
        ValueError: The pixels are not those of the photos.
    """
    if len(pixels) != len(photos):
        raise ValueError(f"there are pixels of {len(pixels)} photos, but {len(photos)} photos")
    model.eval()
    logits, pending = [no_logits(model)], Pending[None](device)
    batches = ordered_batches(len(photos), batch_size)
    mine = [_rows(batch, ranks) for batch in batches]

    def make(positions: NDArray[np.int64]) -> torch.Tensor:
        return validation_images(pixels, positions, size=size, device=device)

    with (
        torch.inference_mode(),
        fed([some for some in mine if len(some)], make, device) as ready,
    ):
        for some in mine:
            # of the last photos there may be fewer than processes
            if len(some):
                with autocast(precision, device):
                    logits_BC = model(next(ready))
                pending.add(None, logits_BC)
                logits += _fetched(pending)
            _check(command())
    own_LC = np.concatenate(logits + _fetched(pending, everything=True))
    return _in_order(ranks.gathered(own_LC), batches, ranks)


def metrics(
    logits_NC: Logits,
    photos: Sequence[LabelledPhoto],
    *,
    label_smoothing: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> Metrics | None:
    """Loss and accuracy; None without photos."""
    if not photos:
        return None
    labels_N = np.array([photo.label for photo in photos])
    weighted = weighted_losses(
        logits_NC, labels_N, class_weights=class_weights, label_smoothing=label_smoothing
    )
    predicted_N = logits_NC.argmax(axis=1)
    return Metrics(
        loss=float(weighted.losses.mean()) if class_weights is None else weighted.mean,
        accuracy=float((predicted_N == labels_N).mean()),
        sample_losses=weighted.losses,
        sample_predictions=predicted_N,
    )


def no_logits(model: ImageClassifier) -> Logits:
    """Those of no photo: shape (0, C)."""
    return np.empty((0, num_classes(model)), np.float32)


def num_classes(model: ImageClassifier) -> int:
    """Number of outputs of the head."""
    last = model.head[-1]
    assert isinstance(last, torch.nn.Linear)  # noqa: S101  # create_head ends with one
    return last.out_features


def _rows(positions: NDArray[np.int64], ranks: Ranks) -> NDArray[np.int64]:
    rows = ranks.rows(len(positions))
    return positions[rows.start : rows.stop]


def _in_order(
    found: Sequence[Logits], batches: Sequence[NDArray[np.int64]], ranks: Ranks
) -> Logits:
    """What each process found of its rows, put where the rows are in the whole."""
    if ranks.is_alone or not batches:
        return found[0]
    places = [
        np.concatenate([_rows(batch, replace(ranks, number=number)) for batch in batches])
        for number in range(ranks.count)
    ]
    return np.concatenate(found)[np.argsort(np.concatenate(places))]


def _fetched(pending: Pending[None], *, everything: bool = False) -> list[Logits]:
    # copied out of pinned memory, which is dear
    return [logits.numpy().copy() for _, logits in pending.take(everything=everything)]


def _check(command: Command) -> None:
    if command in {Command.LEAVE, Command.ABANDON}:
        raise StoppedError("evaluating", command.value)
