"""The chosen rows of a ledger as a file: CSV, JSON lines or Parquet, in bounded memory."""

import csv
import io
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from api.ledger import Row
from api.ledger_sql import Filter, Order
from api.problems import at
from api.services import Services

CSV, NDJSON, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"
MEDIA_TYPES = (CSV, NDJSON, PARQUET)

_SUFFIX = {CSV: "csv", NDJSON: "ndjson", PARQUET: "parquet"}
_VALUES_AT_ONCE, _MOST_ROWS_AT_ONCE = 200_000, 4096
_CHUNK_BYTES = 1 << 20
_PIECE_CHARACTERS = 1 << 16
_LISTS = frozenset({"logits", "loss_by_epoch", "predicted_by_epoch"})
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A ledger's file as clients see it: its columns, its rows, and the orders that it has."""

    name: str
    file: Path
    columns: Sequence[str]
    classes: Sequence[str]
    orders: Sequence[str]
    resource: Callable[[Row], BaseModel]
    probabilities: Callable[[Row], Mapping[str, float | None]]
    within: Filter = field(default_factory=Filter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which rows are exported, in which order, and whether with all probabilities."""

    ledger: Exported
    chosen: Filter
    order: Order
    with_probabilities: bool


def check_whole(request: Request) -> None:
    """An export is not asked for in pages.

    Raises:
        Problem: it is.
    """
    for name in ("limit", "after"):
        if name in request.query_params:
            detail = f"a file has all rows that match: leave {name} out, or accept application/json"
            raise at(f"/query/{name}", "validation_failed", detail)


def exported(services: Services, wanted: Wanted, media_type: str) -> Response:
    """The rows as a file of this type, while they are read.

    Raises:
        Problem: rows cannot come in this order.
    """
    write: Mapping[str, Callable[[Services, Wanted], Iterator[str] | Iterator[bytes]]] = {
        CSV: _csv,
        NDJSON: _json_lines,
        PARQUET: _parquet,
    }
    name = f"{wanted.ledger.name}.{_SUFFIX[media_type]}"
    return StreamingResponse(
        write[media_type](services, wanted),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept"},
    )


def _rows(services: Services, wanted: Wanted, *, with_logits: bool) -> Iterator[Row]:
    ledgers, file = services.ledgers, wanted.ledger.file
    if not with_logits:
        return ledgers.narrow_rows(file, wanted.chosen, wanted.order, at_once=_MOST_ROWS_AT_ONCE)
    at_once = min(_VALUES_AT_ONCE // len(wanted.ledger.classes) + 1, _MOST_ROWS_AT_ONCE)
    return ledgers.rows(file, wanted.chosen, wanted.order, at_once=at_once)


def _together(lines: Iterator[str]) -> Iterator[str]:
    """The lines in larger pieces: each piece that is sent is a hop from thread to thread."""
    held: list[str] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    yield "".join(held)


def _json_lines(services: Services, wanted: Wanted) -> Iterator[str]:
    rows = _rows(services, wanted, with_logits=True)
    return _together(f"{wanted.ledger.resource(row).model_dump_json()}\n" for row in rows)


def _parquet(services: Services, wanted: Wanted) -> Iterator[bytes]:
    """The ledger's own columns; of a file that is gone from its folder before it is read."""
    orders = wanted.ledger.orders
    if wanted.order.text not in orders:
        detail = f"a Parquet file comes in the order of {orders[0]}: leave sort out, sort it there"
        raise at("/query/sort", "validation_failed", detail, allowed=orders)
    if wanted.with_probabilities:
        detail = "a Parquet file has the logits of all classes: leave expand out"
        raise at("/query/expand", "validation_failed", detail)
    file = services.ledgers.spill / f"export-{secrets.token_hex(8)}.parquet"
    services.ledgers.copy(wanted.ledger.file, wanted.chosen, file)
    handle = file.open("rb")
    file.unlink()
    return _chunks(handle)


def _chunks(handle: io.BufferedReader) -> Iterator[bytes]:
    with handle:
        while chunk := handle.read(_CHUNK_BYTES):
            yield chunk


# --- CSV ------------------------------------------------------------------------------------


def _csv(services: Services, wanted: Wanted) -> Iterator[str]:
    return _together(_csv_lines(services, wanted))


def _csv_lines(services: Services, wanted: Wanted) -> Iterator[str]:
    """One line for each row; an empty field is a number that is not finite or not known."""
    scalars = [name for name in wanted.ledger.columns if name not in _LISTS]
    epochs = _epochs(services, wanted.ledger)
    classes = wanted.ledger.classes if wanted.with_probabilities else ()
    yield _line(
        [
            *scalars,
            *(f"{name}_{epoch + 1}" for name, count in epochs.items() for epoch in range(count)),
            *(f"p_{label}" for label in classes),
        ]
    )
    for row in _rows(services, wanted, with_logits=wanted.with_probabilities):
        yield _line(
            [
                *(row[name] for name in scalars),
                *_padded(row.get("loss_by_epoch", ()), epochs["loss"]),
                *_padded(_predicted(wanted.ledger, row), epochs["predicted"]),
                *(wanted.ledger.probabilities(row).values() if classes else ()),
            ]
        )


def _epochs(services: Services, ledger: Exported) -> dict[str, int]:
    longest = {
        name: f"coalesce(max(len({name}_by_epoch)), 0) AS {name}"
        for name in ("loss", "predicted")
        if f"{name}_by_epoch" in ledger.columns
    }
    none = dict.fromkeys(("loss", "predicted"), 0)
    if not longest:
        return none
    (row,) = services.ledgers.select(ledger.file, ", ".join(longest.values()), ledger.within)
    return none | row


def _predicted(ledger: Exported, row: Row) -> list[str]:
    return [ledger.classes[place] for place in row.get("predicted_by_epoch") or ()]


def _padded(values: Sequence[Any], length: int) -> list[Any]:
    return [*values, *[None] * (length - len(values))]


def _line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow([_cell(value) for value in values])
    return text.getvalue()


def _cell(value: Any) -> Any:  # noqa: ANN401  (whatever a column holds)
    """The value as a spreadsheet may have it: no text in it begins a formula."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isfinite(value) else None
