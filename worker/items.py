"""The dataset's items file: one row per listed photo, as Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.artifacts import published
from ml.theory.parts import Part

UNLABELLED = "its name has no label"
"""The reason of a photo that is left out for want of a label."""

# where pandas is installed pyarrow loads it for the first array: in the template, not in every job
pa.array([0])

_AT_ONCE = 4096
_SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("mode", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("digest", pa.string()),
        pa.field("fingerprint", pa.uint64()),
        pa.field("usable", pa.bool_(), nullable=False),
        pa.field("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One photo of a dataset; ``path`` is relative to the source, sizes in pixels.

    A photo that cannot be used has ``usable`` False and a ``reason``; one without a part
    belongs to none of train, valid and test.
    """

    item_id: str
    path: str
    label: str | None = None
    split: Part | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    mode: str | None = None
    size_bytes: int | None = None
    digest: str | None = None
    fingerprint: int | None = None
    usable: bool = False
    reason: str | None = None


def write_items(file: Path, items: Sequence[Item]) -> None:
    """The items are in the file, in the order given."""
    columns = {name: [getattr(item, name) for item in items] for name in _SCHEMA.names}
    table = pa.table(columns, schema=_SCHEMA)
    with published(file) as temporary:
        pq.write_table(table, temporary)


def read_items(file: Path) -> list[Item]:
    """The items of a dataset, in the order of the import."""
    # unlike `pq.read_table` without the import of a query engine and without a pool of threads
    with pq.ParquetFile(file) as rows:
        batches = rows.iter_batches(batch_size=_AT_ONCE, use_threads=False)
        return [Item(**row) for batch in batches for row in batch.to_pylist()]
