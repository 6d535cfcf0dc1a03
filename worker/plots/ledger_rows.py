"""What plots need of a ledger: the counts of confusions, and the photos with the largest losses."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.artifacts import Artifacts
from ml.theory import interpretation
from ml.theory.calibration import Bin, reliability
from worker.plots.confusion import Matrix
from worker.plots.top_losses import MOST, Worst

_THUMBNAIL_PX = 256
_ALL = "all"


def ledger_table(
    artifacts: Artifacts, samples: Mapping[str, Any], split: str | None, columns: list[str]
) -> pa.Table:
    """These columns of the part's rows, worst first.

    A ledger of all parts holds each of them, too.

    Raises:
        FileNotFoundError: the file was deleted.
    """
    name = split if split is not None and split in samples else _ALL
    file = artifacts.fetched(artifacts.absolute(samples[name]["path"]))
    rows = pq.read_table(file, columns=[*columns, "split"])
    return rows if name == split else rows.filter(pc.field("split") == split)


def matrix_of(table: pa.Table, classes: list[str]) -> Matrix:
    """The confusion counts of the rows, in the order of the classes."""
    places = {label: place for place, label in enumerate(classes)}
    actual, predicted = (
        [places[label] for label in table[name].to_pylist()] for name in ("label", "predicted")
    )
    return Matrix(interpretation.confusion(actual, predicted, len(classes)), classes)


def worst_of(table: pa.Table, artifacts: Artifacts, dataset_id: str) -> list[Worst]:
    """The rows with the largest losses; a loss that is not finite is larger than any other."""
    losses = np.array([np.nan if loss is None else loss for loss in table["loss"].to_pylist()])
    worst = interpretation.top_losses(losses, min(MOST, len(losses)))
    rows = table.take([top.index for top in worst]).to_pylist()
    pictures = [artifacts.thumbnail(dataset_id, row["item_id"], _THUMBNAIL_PX) for row in rows]
    artifacts.store.fetch(pictures)
    return [
        Worst(
            label=row["label"],
            predicted=row["predicted"],
            loss=row["loss"],
            p_label=row["p_label"],
            picture_url=picture_url(picture),
        )
        for row, picture in zip(rows, pictures, strict=True)
    ]


def bins_of(table: pa.Table) -> tuple[Bin, ...]:
    """The rows by how sure the network was, but for those whose probability is not finite."""
    finite = table.filter(pc.is_finite(pc.field("p_predicted")))
    return reliability(finite["p_predicted"].to_numpy(), finite["correct"].to_numpy())


def picture_url(file: Path) -> str | None:
    """The JPEG as a data URL; None when the file is not there."""
    if not file.is_file():
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(file.read_bytes()).decode()}"
