"""Which rows of a ledger are meant and in which order, as SQL.

Column names reach the SQL from the whitelists here only; everything a client sends is a parameter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

BY_LOSS = "-loss"
"""The order of the rows in the file."""


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


def _is_text(value: object) -> bool:
    # half a surrogate pair is a string to Python and to nobody else
    return isinstance(value, str) and not any("\ud800" <= each <= "\udfff" for each in value)
