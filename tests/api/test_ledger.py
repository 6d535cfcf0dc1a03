"""The engine that ledgers are asked with."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.ledger import QUESTIONS_AT_ONCE, Ledgers
from api.ledger_sql import Filter, Order

PATIENCE_S = 30


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[Ledgers]:
    with Ledgers(tmp_path) as opened:
        yield opened


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Two photos."""
    file = tmp_path / "samples.parquet"
    columns = {"item_id": ["a", "b"], "loss": [1.0, 3.0], "rank": [2, 1], "logits": [[0.0], [1.0]]}
    pq.write_table(pa.table(columns), file)
    return file


class Gate:
    """A function of the engine at which its first questions are held until it is opened."""

    def __init__(self, ledgers: Ledgers) -> None:
        self.is_full = Barrier(QUESTIONS_AT_ONCE + 1)
        self.is_open = Event()
        self.passed = 0
        ledgers._connection.create_function("pass", self._pass, ["BIGINT"], "BIGINT")

    def _pass(self, rank: int) -> int:
        self.passed += 1
        if not self.is_open.is_set():
            self.is_full.wait(PATIENCE_S)
            assert self.is_open.wait(PATIENCE_S)
        return rank


def test_four_questions_are_asked_at_once_and_the_others_have_their_turns_behind_them(
    ledgers: Ledgers, ledger: Path
) -> None:
    gate = Gate(ledgers)
    worst = Filter(("rank = ?",), (1,))
    with ThreadPoolExecutor(3 * QUESTIONS_AT_ONCE) as clients:
        asked = [
            clients.submit(ledgers.select, ledger, "pass(rank) AS rank", worst)
            for _ in range(2 * QUESTIONS_AT_ONCE)
        ]
        gate.is_full.wait(PATIENCE_S)
        exports = [
            clients.submit(
                list, ledgers.narrow_rows(ledger, Filter(), Order.parse("-loss"), at_once=1)
            )
            for _ in range(QUESTIONS_AT_ONCE)
        ]
        held = (gate.passed, [each.done() for each in (*asked, *exports)])
        gate.is_open.set()
        answers = [each.result(PATIENCE_S) for each in asked]
        rows = [[row["loss"] for row in each.result(PATIENCE_S)] for each in exports]

    assert held == (QUESTIONS_AT_ONCE, [False] * 3 * QUESTIONS_AT_ONCE)
    assert answers == [[{"rank": 1}]] * 2 * QUESTIONS_AT_ONCE
    assert rows == [[3.0, 1.0]] * QUESTIONS_AT_ONCE


def test_who_reads_slowly_keeps_nobody_from_asking(ledgers: Ledgers, ledger: Path) -> None:
    slow = [
        ledgers.narrow_rows(ledger, Filter(), Order.parse("loss"), at_once=1)
        for _ in range(QUESTIONS_AT_ONCE + 1)
    ]
    begun = [next(each)["loss"] for each in slow]

    assert ledgers.select(ledger, "count(*) AS photos", Filter()) == [{"photos": 2}]
    assert begun == [1.0] * len(slow)
    assert [[row["loss"] for row in each] for each in slow] == [[3.0]] * len(slow)
