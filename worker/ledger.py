"""The loss ledger: one Parquet row per photo, from its logits to its share of the loss.

Shapes: N = photos, C = classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.ma  # loaded by the first `np.unique`: so in the template, and not in every job
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs.artifacts import Artifacts, published, sha256_of
from ml.theory import cross_entropy
from ml.theory.calibration import Calibration, calibration
from ml.theory.class_weights import WeightedLosses, weighted_losses
from ml.theory.forgetting import histories
from ml.theory.label_issues import label_issues
from worker.items import Item

_FEWEST_ROWS, _MOST_ROWS, _LOGITS_IN_A_GROUP = 256, 4096, 500_000

Logits = NDArray[np.float32]
Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class History:
    """What became of each photo after each epoch (E), in the order of the photos."""

    losses: NDArray[np.float64]
    """(N, E); NaN where it is not known."""
    predictions: NDArray[np.int64] | None
    """(N, E); None where one of them is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """What one pass over some photos came to, in the order of the photos.

    ``kept_epoch`` is the last one of the ``history`` that led to the model, None for all of them.
    ``dataset_labels`` are those of the photos where they may be scored as other classes.
    """

    items: Sequence[Item]
    classes: Sequence[str]
    labels: NDArray[np.int64]
    logits: Logits
    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    history: History | None = None
    kept_epoch: int | None = None
    dataset_labels: Sequence[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What the rows add up to; ``mean_loss`` is the (weighted) mean of the rows, exactly."""

    count: int
    mean_loss: float
    accuracy: float
    calibration: Mapping[str, Calibration | None]
    """Of each part that the photos are of, and of ``all`` where they are of several."""


def write_ledger(path: Path, evaluated: Evaluated) -> Totals:
    """The ledger is on the disk, largest loss first; its totals are returned."""
    columns = _columns(evaluated)
    order = np.argsort(-columns["loss"], kind="stable")
    arrays = {name: pa.array(values[order]) for name, values in columns.items()}
    arrays["rank"] = pa.array(np.arange(1, len(order) + 1))
    arrays["logits"] = as_lists(evaluated.logits[order])
    arrays |= _history(evaluated, order)
    with published(path) as temporary:
        pq.write_table(
            pa.table(arrays),
            temporary,
            compression="zstd",
            row_group_size=row_group_size(len(evaluated.classes)),
        )
    return Totals(
        count=len(order),
        mean_loss=_mean_loss(columns),
        accuracy=float(columns["correct"].mean()),
        calibration=_calibrations(evaluated),
    )


def samples_entry(artifacts: Artifacts, path: Path, totals: Totals) -> dict[str, Any]:
    """How a job's result names a ledger: where it lies, its digest, what it adds up to."""
    return {"path": artifacts.relative(path), "digest": sha256_of(path), **asdict(totals)}


def row_group_size(classes: int) -> int:
    """Rows that a reader with little memory can hold at once, logits included."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _LOGITS_IN_A_GROUP // classes))


def _columns(evaluated: Evaluated) -> dict[str, Column]:
    logits, labels = evaluated.logits.astype(np.float64), evaluated.labels
    rows = np.arange(len(labels))
    probabilities = cross_entropy.softmax(logits)
    predicted = logits.argmax(axis=1)
    plain = cross_entropy.per_sample(logits, labels)
    smoothing = evaluated.label_smoothing
    weighted = weighted_losses(
        logits, labels, class_weights=evaluated.class_weights, label_smoothing=smoothing
    )
    loss = weighted.losses
    names = np.array(evaluated.classes, dtype=object)
    columns = {
        "item_id": np.array([item.item_id for item in evaluated.items], dtype=object),
        "path": np.array([item.path for item in evaluated.items], dtype=object),
        "split": np.array([str(item.split) for item in evaluated.items], dtype=object),
        "label": names[labels],
        "predicted": names[predicted],
        "correct": predicted == labels,
        "loss": loss,
        "p_label": probabilities[rows, labels],
        "p_predicted": probabilities[rows, predicted],
        "margin": logits[rows, labels] - _best_other(logits, labels),
        "share_of_total_loss": _shares(weighted.weights * loss),
        "logit_label": logits[rows, labels],
        "logsumexp": plain + logits[rows, labels],
    }
    if evaluated.dataset_labels is not None:
        columns["dataset_label"] = np.array(evaluated.dataset_labels, dtype=object)
    has_weights = evaluated.class_weights is not None
    columns |= {"weight": weighted.weights} if has_weights else {}
    columns |= {"plain_loss": plain} if smoothing or has_weights else {}
    return columns | _issues(evaluated) | _learning(evaluated, columns["correct"])


def _mean_loss(columns: dict[str, Column]) -> float:
    if "weight" not in columns:
        return float(columns["loss"].mean())
    return WeightedLosses(columns["loss"], columns["weight"]).mean


def _best_other(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> Column:
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(others.max(axis=1))


def _shares(loss: Column) -> Column:
    total = loss.sum()
    return loss / total if total > 0 else np.zeros_like(loss)


def _parts(evaluated: Evaluated) -> dict[str, NDArray[np.bool_]]:
    """Which photos are of each part."""
    splits = np.array([str(item.split) for item in evaluated.items])
    return {str(name): splits == name for name in np.unique(splits)}


def _calibrations(evaluated: Evaluated) -> dict[str, Calibration | None]:
    parts = _parts(evaluated)
    if len(parts) > 1:
        parts["all"] = np.ones(len(evaluated.labels), bool)
    return {
        name: calibration(evaluated.logits[rows], evaluated.labels[rows])
        for name, rows in parts.items()
    }


def _issues(evaluated: Evaluated) -> dict[str, Column]:
    """Each part by itself: what is known of photos that were learned from is worth less."""
    scores = np.full(len(evaluated.labels), np.nan)
    suspects = np.zeros(len(evaluated.labels), bool)
    for rows in _parts(evaluated).values():
        found = label_issues(evaluated.logits[rows].astype(np.float64), evaluated.labels[rows])
        if found is not None:
            scores[rows], suspects[rows] = found.scores, found.suspects
    return {"label_issue_score": scores, "is_label_issue": suspects}


def _learning(evaluated: Evaluated, correct: Column) -> dict[str, Column]:
    """What became of each photo up to the model that is kept; nothing without a history."""
    history = evaluated.history
    if history is None or history.predictions is None:
        return {}
    kept = evaluated.kept_epoch
    epochs = history.predictions[:, : None if kept is None else kept + 1]
    was_correct = epochs == evaluated.labels[:, None]
    found = histories(np.column_stack([was_correct, correct]))
    return {
        "learning": np.array([str(each) for each in found.learning], dtype=object),
        "forgetting_events": found.forgetting_events,
    }


def _history(evaluated: Evaluated, order: NDArray[np.int64]) -> dict[str, pa.ListArray]:
    history = evaluated.history
    if history is None:
        return {"loss_by_epoch": as_lists(np.empty((len(order), 0)))}
    lists = {"loss_by_epoch": as_lists(history.losses[order])}
    if history.predictions is not None:
        lists["predicted_by_epoch"] = as_lists(history.predictions[order])
    return lists


def as_lists(matrix: Column) -> pa.ListArray:
    """Row by row; every list has as many entries as the matrix has columns."""
    count, width = matrix.shape
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix).ravel()))
