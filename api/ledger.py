"""Questions to the Parquet files that workers wrote, answered by DuckDB in 64 MB and one thread.

Column names reach the SQL from the whitelists here only; everything a client sends is a parameter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

SORTABLE = (
    *("rank", "loss", "plain_loss", "p_label", "p_predicted", "margin", "share_of_total_loss"),
    *("label_issue_score", "forgetting_events"),
    *("label", "predicted", "correct", "path", "item_id"),
)
_NUMBERS = frozenset(
    {
        *("loss", "plain_loss", "p_label", "p_predicted", "margin", "share_of_total_loss"),
        "label_issue_score",
    }
)

_KINDS: Mapping[str, type] = {
    **dict.fromkeys(_NUMBERS, float),
    "rank": int,
    "forgetting_events": int,
    "correct": bool,
}
_MOST_ROWS = 2**63
_ROWS_IN_A_GROUP = 2048

BY_LOSS = "-loss"
"""The order of the rows in the file."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows count; conditions are SQL with one ``?`` for each parameter."""

    conditions: tuple[str, ...] = ()
    parameters: tuple[Any, ...] = ()

    @classmethod
    def of(cls, equal: Mapping[str, Any], *, least: float | None, most: float | None) -> "Filter":
        """Rows whose columns equal the values that are not None, with a loss in the range."""
        wanted = [(f"{column} = ?", value) for column, value in equal.items() if value is not None]
        if least is not None:
            wanted.append(("loss >= ?", least))
        if most is not None:
            wanted.append(("loss <= ?", most))
        return cls(tuple(condition for condition, _ in wanted), tuple(value for _, value in wanted))

    def also(self, condition: str, *parameters: object) -> "Filter":
        """Rows that satisfy the condition, too."""
        return Filter((*self.conditions, condition), (*self.parameters, *parameters))

    @property
    def sql(self) -> str:
        """The WHERE clause."""
        return " AND ".join(f"({condition})" for condition in self.conditions) or "TRUE"


@dataclass(frozen=True, slots=True)
class Order:
    """A column of `SORTABLE` and a direction; what is not finite comes last in both."""

    column: str
    descending: bool

    @classmethod
    def parse(cls, text: str) -> "Order":
        """The order that ``-loss`` or ``path`` stands for.

        Raises:
            ValueError: rows cannot be sorted by this.
        """
        column = text.removeprefix("-")
        if column not in SORTABLE:
            raise ValueError(f"{text!r} is not a column to sort by")
        return cls(column, text.startswith("-"))

    @property
    def text(self) -> str:
        """What `parse` reads as this order."""
        return f"-{self.column}" if self.descending else self.column

    @property
    def last(self) -> str:
        """SQL that is true for rows without a place in the order."""
        if self.column in _NUMBERS:
            return f"({self.column} IS NULL OR NOT isfinite({self.column}))"
        return f"({self.column} IS NULL)"

    @property
    def sql(self) -> str:
        """The ORDER BY clause."""
        direction = "DESC" if self.descending else "ASC"
        value = f"CASE WHEN {self.last} THEN NULL ELSE {self.column} END"
        return f"{self.last}, {value} {direction}, item_id"

    def fits(self, position: Sequence[Any]) -> bool:
        """Whether what a cursor holds is a position in this order: no client need be honest."""
        if len(position) != 3 or not isinstance(position[0], bool) or not _is_text(position[2]):
            return False
        is_last, value, _ = position
        if is_last:
            return value is None
        kind = _KINDS.get(self.column, str)
        if kind is str:
            return _is_text(value)
        is_kind = type(value) is kind and isinstance(value, int | float)
        return is_kind and abs(value) < _MOST_ROWS

    def behind(self, chosen: Filter, position: Sequence[Any]) -> Filter:
        """The rows that come after the row at this position (`place`)."""
        is_last, value, item_id = position
        if is_last:
            return chosen.also(f"{self.last} AND item_id > ?", item_id)
        sign = "<" if self.descending else ">"
        return chosen.also(
            f"{self.last} OR {self.column} {sign} ? OR ({self.column} = ? AND item_id > ?)",
            value,
            value,
            item_id,
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Some rows of a file with the columns of both sides of a join."""

    file: Path
    chosen: Filter
    loss: str
    """SQL of the plain loss."""

    @property
    def sql(self) -> str:
        """The rows as a table; its parameters are the file and those of the filter."""
        columns = f"item_id, path, label, predicted, correct, {self.loss} AS loss, p_label"
        return f"(SELECT {columns} FROM read_parquet(?) WHERE {self.chosen.sql})"  # noqa: S608

    @property
    def parameters(self) -> tuple[Any, ...]:
        """One for each ``?``."""
        return (str(self.file), *self.chosen.parameters)


@dataclass(slots=True)
class Ledgers:
    """One in-memory DuckDB for the whole process, closed at the end of a ``with`` block."""

    spill: Path
    _connection: duckdb.DuckDBPyConnection = field(init=False, repr=False)

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
        with self._connection.cursor() as cursor:
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

    def rows(
        self, file: Path, chosen: Filter, order: Order, *, columns: str, at_once: int
    ) -> Iterator[Row]:
        """All chosen rows in order, ``at_once`` of them in memory.

        As of a page, the places are found first: wide rows do not fit into the memory in which
        they would have to be sorted.
        """
        for ranks in self._ranks(file, chosen, order, at_once):
            these = Filter(
                ("rank BETWEEN ? AND ?", "rank IN (SELECT unnest(?::BIGINT[]))"),
                (min(ranks), max(ranks), ranks),
            )
            by_rank = {row["rank"]: row for row in self.select(file, columns, these)}
            yield from (by_rank[rank] for rank in ranks)

    def _ranks(
        self, file: Path, chosen: Filter, order: Order, at_once: int
    ) -> Iterator[Sequence[int]]:
        sql = f"SELECT rank FROM read_parquet(?) WHERE {chosen.sql} ORDER BY {order.sql}"  # noqa: S608
        with self._connection.cursor() as cursor:
            cursor.execute(sql, [str(file), *chosen.parameters])
            while found := cursor.fetchmany(at_once):
                yield [rank for (rank,) in found]

    def copy(self, file: Path, chosen: Filter, target: Path) -> None:
        """The chosen rows are in the new Parquet file, whole and in the order of the old one."""
        sql = f"SELECT * FROM read_parquet(?) WHERE {chosen.sql}"  # noqa: S608
        with self._connection.cursor() as cursor:
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
        with self._connection.cursor() as cursor:
            cursor.execute(sql, list(parameters))
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _is_text(value: object) -> bool:
    # half a surrogate pair is a string to Python and to nobody else
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)


def _position(row: Row) -> list[Any]:
    return [row["is_last"], None if row["is_last"] else row["value"], row["item_id"]]
