"""What a ledger of a million rows costs to ask, beside DuckDB that reads the same file straight.

    .venv/bin/python benchmarks/ledger.py            1,000,000 rows x 100 classes (1 GB of disk)
    .venv/bin/python benchmarks/ledger.py --out      also benchmarks/results/ledger.json
    .venv/bin/python benchmarks/ledger.py --short    a try with 20,000 rows

The service answers over HTTP, JSON and all, from a DuckDB that has 64 MB and one thread; what it
is compared with has as much as it likes and hands over Python's rows, or a CSV file of its own.
Both run in turn in one go. The stack ends with this program.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import duckdb
import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import command_line, machine_facts
from sqlalchemy import update
from stack_memory import peak_memory

from cli.stack import Stack
from jobs import store, tables
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobType
from jobs.spec import EvaluationSpec
from ml.theory import cross_entropy
from tunesmith_client import Json
from worker.ledger import as_lists, row_group_size

RESULTS = Path(__file__).parent / "results"
_CLASSES = [f"class_{number:03d}" for number in range(100)]
_NARROW = "* EXCLUDE (logits, loss_by_epoch)"
_QUESTIONS = {
    "first_page": ("limit=20", "SELECT * FROM '{file}' ORDER BY loss DESC, item_id LIMIT 20"),
    "page_by_another_column": (
        "limit=20&sort=p_label",
        "SELECT * FROM '{file}' ORDER BY p_label, item_id LIMIT 20",
    ),
    "filtered_page": (
        "limit=20&label=class_007&correct=false&min_loss=1",
        "SELECT * FROM '{file}' WHERE label = 'class_007' AND NOT correct AND loss >= 1"
        " ORDER BY loss DESC, item_id LIMIT 20",
    ),
    "summary": (
        "/summary",
        "SELECT count(*), avg(loss), quantile_cont(loss, [0.5, 0.9, 0.99]), max(loss)"
        " FROM '{file}'",
    ),
    "confusion": (
        "/confusion",
        "SELECT label, predicted, count(*) FROM '{file}' GROUP BY ALL",
    ),
}


def main() -> None:
    """The numbers are printed and, if wanted, written."""
    asked = _asked()
    measured: Json = {
        "command": command_line(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine_facts(),
        "rows": asked.rows,
        "classes": len(_CLASSES),
    }
    with (
        tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder,
        Stack(Path(folder), port=0, dataset_roots=(), report=print, is_private=True) as stack,
        httpx.Client(base_url=stack.url, timeout=3600) as http,
    ):
        stack.wait_until_ready()
        file = stack.settings.artifacts / "ledger.parquet"
        mean_loss = _write(file, asked.rows)
        measured["file_mib"] = round(file.stat().st_size / 2**20, 1)
        path = f"/v1/jobs/{_job(stack, file, mean_loss)}"
        with peak_memory() as mib:
            _ask(http, path, "limit=1")
            measured["api_mib_before"] = round(mib.get("api", 0.0))
            measured["seconds"] = dict(_questions(http, path, file, asked.times))
            measured["csv"] = _export(http, path, file, asked.times)
            measured["api_mib_at_most"] = round(mib.get("api", 0.0))
    print(json.dumps(measured, indent=1))
    if asked.out:
        target = RESULTS / "ledger.json"
        target.write_text(json.dumps(measured, indent=1) + "\n")
        print(f"written: {target}")


# --- questions ------------------------------------------------------------------------------


def _questions(http: httpx.Client, path: str, file: Path, times: int) -> Iterator[tuple[str, Json]]:
    for name, (query, sql) in _QUESTIONS.items():
        ours, straight = [], []
        for _ in range(times):
            straight.append(_timed(partial(_straight, sql.format(file=file))))
            ours.append(_timed(partial(_ask, http, path, query)))
        pair = _pair(ours, straight)
        print(name, json.dumps(pair), flush=True)
        yield name, pair


def _ask(http: httpx.Client, path: str, query: str) -> None:
    address = {"/summary": f"{path}/samples/summary", "/confusion": f"{path}/confusion"}
    http.get(address.get(query, f"{path}/samples?{query}")).raise_for_status()


def _straight(sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(sql).fetchall()


def _export(http: httpx.Client, path: str, file: Path, times: int) -> Json:
    """Seconds and bytes of all rows as CSV, and those until the first bytes come."""
    ours, straight, first = [], [], []
    for _ in range(times):
        straight.append(_timed(lambda: _straight_csv(file)))
        began_s, size = time.perf_counter(), 0
        with http.stream("GET", f"{path}/samples", headers={"Accept": "text/csv"}) as answer:
            answer.raise_for_status()
            for piece in answer.iter_bytes():
                if not size:
                    first.append(time.perf_counter() - began_s)
                size += len(piece)
        ours.append(time.perf_counter() - began_s)
    return {**_pair(ours, straight), "mib": round(size / 2**20), "first_bytes_s": _spread(first)}


def _straight_csv(file: Path) -> None:
    target = file.with_suffix(".csv")
    _straight(f"COPY (SELECT {_NARROW} FROM '{file}' ORDER BY rank) TO '{target}' (HEADER)")  # noqa: S608
    target.unlink()


# --- the ledger -----------------------------------------------------------------------------


def _write(file: Path, rows: int) -> float:
    """A ledger as a worker writes it, from the largest loss to the smallest, piece by piece."""
    rng = np.random.default_rng(1)
    size = row_group_size(len(_CLASSES))
    schema = _piece(rng, 0, 1, rows)[0].schema
    total = 0.0
    file.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for first in range(0, rows, size):
            table, losses = _piece(rng, first, min(size, rows - first), rows)
            writer.write_table(table)
            total += losses
    return total / rows


def _piece(rng: np.random.Generator, first: int, count: int, rows: int) -> tuple[pa.Table, float]:
    """Rows whose losses lie between those of the piece before and of the one behind."""
    labels = rng.integers(len(_CLASSES), size=count)
    logits = rng.normal(0, 1, (count, len(_CLASSES)))
    everywhere = np.arange(count)
    # the label's logit is chosen so that the loss is the wanted one
    wanted = -12 * np.log((first + np.sort(rng.random(count)) * count + 1) / (rows + 2)) + 1e-4
    others = logits.copy()
    others[everywhere, labels] = -np.inf
    rest = np.logaddexp.reduce(others, axis=1)
    logits[everywhere, labels] = rest - np.log(np.expm1(wanted))
    logits = logits.astype(np.float32).astype(np.float64)
    losses = cross_entropy.per_sample(logits, labels)
    predicted = logits.argmax(axis=1)
    shares = cross_entropy.softmax(logits)
    names = np.array(_CLASSES, dtype=object)
    numbers = np.arange(first, first + count)
    table = pa.table(
        {
            "item_id": [f"itm_{number * 2654435761 % 2**64:032x}" for number in numbers.tolist()],
            "path": [f"{names[label]}/{n}.jpg" for label, n in zip(labels, numbers, strict=True)],
            "split": ["valid"] * count,
            "label": names[labels],
            "predicted": names[predicted],
            "correct": predicted == labels,
            "loss": losses,
            "p_label": shares[everywhere, labels],
            "p_predicted": shares[everywhere, predicted],
            "margin": logits[everywhere, labels] - others.max(axis=1),
            "share_of_total_loss": losses / rows,
            "logit_label": logits[everywhere, labels],
            "logsumexp": losses + logits[everywhere, labels],
            "rank": numbers + 1,
            "logits": as_lists(logits.astype(np.float32)),
            "loss_by_epoch": as_lists(np.empty((count, 0))),
        }
    )
    return table, float(losses.sum())


def _job(stack: Stack, file: Path, mean_loss: float) -> str:
    """A finished evaluation whose ledger is this file."""
    entry = {"path": Artifacts(stack.settings.artifacts).relative(file), "digest": "benchmark"}
    result = {"classes": _CLASSES, "samples": {"valid": entry}, "reported_loss": mean_loss}
    spec = EvaluationSpec(model="mdl_benchmark", dataset="ds_benchmark")
    database = Database(stack.settings.database_url)
    with database.write() as connection:
        job = store.submit(connection, JobType.EVALUATION, spec, dataset_id=None)
        connection.execute(
            update(tables.jobs)
            .where(tables.jobs.c.id == job.id)
            .values(state="succeeded", result=result)
        )
    database.close()
    return job.id


# --- numbers --------------------------------------------------------------------------------


def _timed(do: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    do()
    return time.perf_counter() - began_s


def _pair(ours: list[float], straight: list[float]) -> Json:
    ratios = [mine / theirs for mine, theirs in zip(ours, straight, strict=True)]
    return {"service": _spread(ours), "duckdb": _spread(straight), "ratio": _spread(ratios)}


def _spread(values: list[float]) -> Json:
    return {
        "median": round(median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", action="store_true", help=f"write JSON to {RESULTS.name}/, too")
    parser.add_argument("--short", action="store_true", help="small numbers, to try it out")
    parser.add_argument("--times", type=int, default=3, help="pairs of each question")
    asked = parser.parse_args()
    asked.rows = 20_000 if asked.short else 1_000_000
    return asked


if __name__ == "__main__":
    main()
