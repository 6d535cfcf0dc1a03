"""A whole ledger, or all of it that matches, as a file."""

import csv
import io
import json
import subprocess
import sys
from math import exp
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job
from tests.api.given import (
    LABELS,
    LOSSES,
    evaluated,
    field,
    get,
    problem,
    ready_dataset,
)

CSV, NDJSON, PARQUET = "text/csv", "application/x-ndjson", "application/vnd.apache.parquet"


@pytest.fixture
def job(database: Database, artifacts: Artifacts) -> Job:
    """A fine-tune with a ledger of three photos."""
    return evaluated(database, artifacts, ready_dataset(database))


def exported(client: TestClient, job: Job, media_type: str, query: str = "") -> bytes:
    response = client.get(f"/v1/jobs/{job.id}/samples?{query}", headers={"Accept": media_type})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].split(";")[0] == media_type
    return bytes(response.content)


def lines(client: TestClient, job: Job, query: str = "") -> list[dict[str, str]]:
    text = exported(client, job, CSV, query).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_table_has_every_row_and_every_column(client: TestClient, job: Job) -> None:
    worst, second, best = lines(client, job)

    assert [float(row["loss"]) for row in (worst, second, best)] == sorted(LOSSES, reverse=True)
    assert worst["correct"] == "false"
    assert (worst["loss_1"], worst["loss_2"]) == ("1.0", "0.5")
    assert float(worst["logsumexp"]) - float(worst["logit_label"]) == pytest.approx(LOSSES[2])
    assert "logits" not in worst


def test_a_table_has_the_probability_of_each_class_when_asked_for(
    client: TestClient, job: Job
) -> None:
    for row in lines(client, job, "expand=probabilities"):
        probabilities = [float(row[f"p_{label}"]) for label in LABELS]
        assert sum(probabilities) == pytest.approx(1.0)
        assert float(row[f"p_{row['label']}"]) == pytest.approx(exp(-float(row["loss"])))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_text_in_a_table_is_a_formula(
    client: TestClient, database: Database, artifacts: Artifacts, text: str
) -> None:
    job = evaluated(database, artifacts, ready_dataset(database), {"path": [text, "1.jpg", "a=b"]})

    written = {row["path"] for row in lines(client, job)}

    assert written == {f"'{text}", "1.jpg", "a=b"}


def test_numbers_below_zero_stay_numbers_and_what_is_not_finite_is_empty(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    columns = {"margin": [-2.5, float("inf"), float("nan")]}
    job = evaluated(database, artifacts, ready_dataset(database), columns)

    assert sorted(row["margin"] for row in lines(client, job)) == ["", "", "-2.5"]


def test_json_lines_are_the_rows_of_the_list(client: TestClient, job: Job) -> None:
    text = exported(client, job, NDJSON, "sort=path&expand=probabilities").decode()

    listed = get(client, f"/v1/jobs/{job.id}/samples?sort=path&expand=probabilities")
    assert [json.loads(line) for line in text.splitlines()] == listed["data"]


def test_a_parquet_file_has_the_columns_of_the_ledger(
    client: TestClient, job: Job, artifacts: Artifacts
) -> None:
    table = pq.read_table(io.BytesIO(exported(client, job, PARQUET)))

    ledger = pq.read_table(artifacts.absolute(job.result["samples"]["valid"]["path"]))
    assert table.column_names == ledger.column_names
    assert table.to_pylist() == ledger.to_pylist()


@pytest.mark.parametrize("media_type", [CSV, NDJSON, PARQUET])
def test_a_file_has_all_that_match_the_filters_and_a_name(
    client: TestClient, job: Job, media_type: str
) -> None:
    path = f"/v1/jobs/{job.id}/samples?label=dog&max_loss=1"

    response = client.get(path, headers={"Accept": media_type})

    suffix = {CSV: "csv", NDJSON: "ndjson", PARQUET: "parquet"}[media_type]
    name = f'attachment; filename="{job.id}-samples-valid.{suffix}"'
    assert response.headers["content-disposition"] == name
    # of the two dogs one has a loss below 1
    if media_type == PARQUET:
        assert pq.read_table(io.BytesIO(response.content)).num_rows == 1
    else:
        header = 1 if media_type == CSV else 0
        assert len(response.text.splitlines()) - header == 1


@pytest.mark.parametrize("media_type", [CSV, NDJSON])
def test_a_file_comes_in_the_order_that_is_asked_for(
    client: TestClient, job: Job, media_type: str
) -> None:
    text = exported(client, job, media_type, "sort=-path").decode()

    places = [text.index(f"{number}.jpg") for number in (2, 1, 0)]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("media_type", "query", "name"),
    [
        (CSV, "limit=5", "limit"),
        (NDJSON, "after=abc", "after"),
        (PARQUET, "sort=path", "sort"),
        (PARQUET, "expand=probabilities", "expand"),
    ],
)
def test_what_a_file_cannot_heed_is_refused(
    client: TestClient, job: Job, media_type: str, query: str, name: str
) -> None:
    path = f"/v1/jobs/{job.id}/samples?{query}"

    response = client.get(path, headers={"Accept": media_type})

    body = problem(response, 422, "validation_failed", f"/query/{name}")
    assert f"leave {name} out" in field(body, f"/query/{name}")["detail"]


def test_a_type_that_is_not_made_names_those_that_are(client: TestClient, job: Job) -> None:
    response = client.get(f"/v1/jobs/{job.id}/samples", headers={"Accept": "text/html"})

    body = problem(response, 406, "not_acceptable")
    assert f"application/json or {CSV} or {NDJSON} or {PARQUET}" in body["detail"]


ROWS, CLASSES = 20_000, 500
MOST_MB = 200
"""The engine may take 64; the logits alone are 40 MB as they lie and 320 as Python's numbers."""

PROGRAM = """
import resource, sys
from pathlib import Path
from api.ledger import Ledgers
from api.ledger_sql import Filter, Order

file, spill, sort = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
with Ledgers(spill) as ledgers:
    ledgers.columns(file)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sort == "copy":
        ledgers.copy(file, Filter(), spill / "copy.parquet")
        count = ledgers.select(spill / "copy.parquet", "count(*) AS n", Filter())[0]["n"]
    else:
        rows = ledgers.rows(file, Filter(), Order.parse(sort), at_once=400)
        count = sum(len(row["logits"]) for row in rows) // int(sys.argv[4])
    after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(count, (after_kb - before_kb) // 1024)
"""


@pytest.fixture(scope="module")
def large_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many rows of many logits, largest loss first."""
    file = tmp_path_factory.mktemp("large") / "samples.parquet"
    random = np.random.default_rng(0)
    logits = random.standard_normal(ROWS * CLASSES, dtype=np.float32)
    offsets = np.arange(ROWS + 1, dtype=np.int32) * CLASSES
    table = {
        "item_id": [f"itm_{random.integers(2**62):032x}" for _ in range(ROWS)],
        "rank": np.arange(1, ROWS + 1),
        "loss": np.linspace(9, 0, ROWS),
        "p_label": random.permutation(ROWS) / ROWS,
        "logits": pa.ListArray.from_arrays(offsets, logits),
    }
    pq.write_table(pa.table(table), file, compression="zstd", row_group_size=1000)
    return file


@pytest.mark.parametrize("order", ["-loss", "copy"])
def test_a_large_ledger_is_read_in_bounded_memory(
    large_ledger: Path, tmp_path: Path, order: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(large_ledger), str(tmp_path), order, str(CLASSES)],
        capture_output=True,
        text=True,
        check=True,
    )

    count, taken_mb = map(int, done.stdout.split())
    assert count == ROWS
    assert taken_mb < MOST_MB


def test_in_another_order_a_large_ledger_is_read_in_bounded_memory_too(
    large_ledger: Path, tmp_path: Path
) -> None:
    part = tmp_path / "part.parquet"
    pq.write_table(pq.read_table(large_ledger).slice(0, 4000), part, row_group_size=1000)

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(part), str(tmp_path), "p_label", str(CLASSES)],
        capture_output=True,
        text=True,
        check=True,
    )

    count, taken_mb = map(int, done.stdout.split())
    assert count == 4000
    assert taken_mb < MOST_MB


def test_a_parquet_export_leaves_nothing_behind(client: TestClient, job: Job) -> None:
    exported(client, job, PARQUET)

    spill = client.app.state.services.ledgers.spill  # type: ignore[attr-defined]
    assert list(spill.iterdir()) == []
