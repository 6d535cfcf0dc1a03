"""Questions to the Parquet files that workers wrote, answered by DuckDB in 64 MB and one thread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore
from types import TracebackType
from typing import Any

import duckdb

from api.ledger_sql import Filter, Order, Source

_ROWS_IN_A_GROUP = 2048
QUESTIONS_AT_ONCE = 4
"""What the engine's memory suffices for; pages of fifty clients at once do not fit into it."""

Row = dict[str, Any]


@dataclass(slots=True)
class Ledgers:
    """One in-memory DuckDB for the whole process, closed at the end of a ``with`` block."""

    spill: Path
    _connection: duckdb.DuckDBPyConnection = field(init=False, repr=False)
    _turns: BoundedSemaphore = field(
        default_factory=lambda: BoundedSemaphore(QUESTIONS_AT_ONCE), init=False, repr=False
    )

    def __enter__(self) -> "Ledgers":
        """The engine is open."""
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": "64MB",
                "threads": 1,
                "temp_directory": str(self.spill),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The engine is closed."""
        self._connection.close()

    def columns(self, file: Path) -> tuple[str, ...]:
        """Names of the file's columns."""
        with self._turns, self._connection.cursor() as cursor:
            cursor.execute("SELECT * FROM read_parquet(?) LIMIT 0", [str(file)])
            return tuple(column[0] for column in cursor.description or ())

    def page(
        self,
        file: Path,
        chosen: Filter,
        order: Order,
        *,
        after: Sequence[Any] | None,
        limit: int,
    ) -> tuple[list[Row], list[Any] | None]:
        """At most ``limit`` whole rows in order, and the position of the last if more follow.

        The places are found first, from the sorting columns alone; the wide ones (the logits)
        are read for the rows of the page only.
        """
        window = chosen if after is None else order.behind(chosen, after)
        sql = (
            f"SELECT {order.last} AS is_last, {order.column} AS value, item_id, rank AS place"  # noqa: S608
            f" FROM read_parquet(?) WHERE {window.sql} ORDER BY {order.sql} LIMIT {limit + 1:d}"
        )
        found = self._rows(sql, [str(file), *window.parameters])
        shown, more = found[:limit], len(found) > limit
        by_id = {row["item_id"]: row for row in self._whole(file, shown)}
        return [by_id[row["item_id"]] for row in shown], _position(shown[-1]) if more else None

    def rows(self, file: Path, chosen: Filter, order: Order, *, at_once: int) -> Iterator[Row]:
        """All chosen rows in order, whole, ``at_once`` of them in memory.

        As of a page, the places are found first: wide rows do not fit into the memory in which
        they would have to be sorted.
        """
        for ranks in self._ranks(file, chosen, order, at_once):
            these = Filter(
                ("rank BETWEEN ? AND ?", "rank IN (SELECT unnest(?::BIGINT[]))"),
                (min(ranks), max(ranks), ranks),
            )
            by_rank = {row["rank"]: row for row in self.select(file, "*", these)}
            yield from (by_rank[rank] for rank in ranks)

    def narrow_rows(
        self, file: Path, chosen: Filter, order: Order, *, at_once: int
    ) -> Iterator[Row]:
        """As `rows` without the logits: faster in any other order than that of the file."""
        for rows in self._sorted(file, "* EXCLUDE (logits)", chosen, order, at_once):
            yield from rows

    def _ranks(
        self, file: Path, chosen: Filter, order: Order, at_once: int
    ) -> Iterator[Sequence[int]]:
        for rows in self._sorted(file, "rank", chosen, order, at_once):
            yield [row["rank"] for row in rows]

    def _sorted(
        self, file: Path, columns: str, chosen: Filter, order: Order, at_once: int
    ) -> Iterator[list[Row]]:
        """Between two pieces other questions have their turns: clients may take their time."""
        sql = f"SELECT {columns} FROM read_parquet(?) WHERE {chosen.sql} ORDER BY {order.sql}"  # noqa: S608
        with self._connection.cursor() as cursor:
            with self._turns:
                cursor.execute(sql, [str(file), *chosen.parameters])
                names = [column[0] for column in cursor.description or ()]
                found = cursor.fetchmany(at_once)
            while found:
                yield [dict(zip(names, row, strict=True)) for row in found]
                with self._turns:
                    found = cursor.fetchmany(at_once)

    def copy(self, file: Path, chosen: Filter, target: Path) -> None:
        """The chosen rows are in the new Parquet file, whole and in the order of the old one."""
        sql = f"SELECT * FROM read_parquet(?) WHERE {chosen.sql}"  # noqa: S608
        with self._turns, self._connection.cursor() as cursor:
            rows = cursor.sql(sql, params=[str(file), *chosen.parameters])
            rows.write_parquet(str(target), compression="zstd", row_group_size=_ROWS_IN_A_GROUP)

    def row(self, file: Path, item_id: str) -> Row | None:
        """The whole row of this photo; None when the ledger has no such photo."""
        rows = self.select(file, "*", Filter(("item_id = ?",), (item_id,)))
        return rows[0] if rows else None

    def _whole(self, file: Path, found: Sequence[Row]) -> list[Row]:
        """The rows in full, in no order; the file is sorted by rank, so little of it is read."""
        if not found:
            return []
        ranks = [row["place"] for row in found]
        marks = ", ".join("?" for _ in found)
        chosen = Filter(
            ("rank BETWEEN ? AND ?", f"item_id IN ({marks})"),
            (min(ranks), max(ranks), *(row["item_id"] for row in found)),
        )
        return self.select(file, "*", chosen)

    def select(self, file: Path, expressions: str, chosen: Filter, tail: str = "") -> list[Row]:
        """Rows of SQL expressions over the chosen rows; ``tail`` groups, orders and limits."""
        sql = f"SELECT {expressions} FROM read_parquet(?) WHERE {chosen.sql} {tail}"  # noqa: S608
        return self._rows(sql, [str(file), *chosen.parameters])

    def joined(self, before: Source, after: Source, expressions: str, tail: str = "") -> list[Row]:
        """Rows of SQL expressions over the photos of ``before`` and ``after``, by their ids."""
        sql = (
            f"SELECT {expressions} FROM {before.sql} AS before FULL JOIN {after.sql} AS after"  # noqa: S608
            f" ON before.item_id = after.item_id {tail}"
        )
        return self._rows(sql, [*before.parameters, *after.parameters])

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        with self._turns, self._connection.cursor() as cursor:
            cursor.execute(sql, list(parameters))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _position(row: Row) -> list[Any]:
    return [row["is_last"], None if row["is_last"] else row["value"], row["item_id"]]
