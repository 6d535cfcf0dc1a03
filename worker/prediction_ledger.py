"""The ledger of predictions: one Parquet row per photo, the least sure first; no label counts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.artifacts import published
from ml.theory import cross_entropy
from worker.items import Item
from worker.ledger import Logits, as_lists, row_group_size


def write_predictions(
    path: Path, items: Sequence[Item], classes: Sequence[str], logits: Logits
) -> dict[str, int]:
    """The rows are on the disk; how many photos were taken for each class is returned."""
    wide = logits.astype(np.float64)
    chosen = wide.argmax(axis=1)
    surest = cross_entropy.softmax(wide)[np.arange(len(items)), chosen]
    order = np.argsort(surest, kind="stable")
    ordered = [items[place] for place in order]
    columns: dict[str, Any] = {
        "item_id": [item.item_id for item in ordered],
        "path": [item.path for item in ordered],
        "split": [str(item.split) for item in ordered],
        "dataset_label": pa.array([item.label for item in ordered], pa.string()),
        "predicted": [classes[chosen[place]] for place in order],
        "p_predicted": surest[order],
        "rank": np.arange(1, len(order) + 1),
        "logits": as_lists(logits[order]),
    }
    with published(path) as temporary:
        pq.write_table(
            pa.table(columns),
            temporary,
            compression="zstd",
            row_group_size=row_group_size(len(classes)),
        )
    counts = Counter(classes[place] for place in chosen)
    return {name: counts[name] for name in classes}
