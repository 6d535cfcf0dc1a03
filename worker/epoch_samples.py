"""What became of each validation photo after each epoch, kept beside the checkpoints."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.artifacts import Artifacts, published
from jobs.job import Job
from worker.ledger import History

_ROW = np.dtype([("loss", np.float64), ("predicted", np.int64)])


def write_epoch(
    folder: Path, epoch: int, losses: NDArray[np.float64], predictions: NDArray[np.int64]
) -> Path:
    """The file that has the photos' losses and predicted classes after this epoch."""
    rows = np.empty(len(losses), _ROW)
    rows["loss"], rows["predicted"] = losses, predictions
    # straight to a file NumPy does not say why it cannot write, such as a full disk
    content = io.BytesIO()
    np.save(content, rows)
    file = _file(folder, epoch)
    with published(file) as temporary:
        temporary.write_bytes(content.getvalue())
    return file


def read_epochs(artifacts: Artifacts, job: Job, *, epochs: int, photos: int) -> History:
    """A column for each epoch, written by this attempt or by an earlier one.

    What an attempt of an earlier version wrote has losses only: then no predictions are known.
    """
    losses = np.full((photos, epochs), np.nan)
    predictions = np.zeros((photos, epochs), np.int64)
    is_complete = True
    for epoch in range(epochs):
        rows = _newest(artifacts, job, epoch)
        if rows is None:
            is_complete = False
        elif rows.dtype == _ROW:
            losses[:, epoch], predictions[:, epoch] = rows["loss"], rows["predicted"]
        else:
            losses[:, epoch], is_complete = rows, False
    return History(losses, predictions if is_complete else None)


def _newest(artifacts: Artifacts, job: Job, epoch: int) -> NDArray[np.void] | None:
    for fence in range(job.fence, 0, -1):
        path = artifacts.fetched(_file(artifacts.attempt_folder(job.id, fence), epoch))
        if path.exists():
            rows: NDArray[np.void] = np.load(path)
            return rows
    return None


def _file(folder: Path, epoch: int) -> Path:
    # `jobs.orphans` removes them by this name once the ledger has them
    return folder / f"losses-{epoch}.npy"
