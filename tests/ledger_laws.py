"""What holds of every loss ledger, whatever job made it."""

import math
from collections import Counter
from typing import Any

import pyarrow.parquet as pq

from jobs import store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState
from jobs.store import JobFilter
from ml.theory.forgetting import Learning

Rows = list[dict[str, Any]]

_RIGHT = {Learning.LEARNED, Learning.FLIPPED}


def check_every_ledger(database: Database, artifacts: Artifacts) -> None:
    """Every ledger of the database is as its job says, and so is each of its rows."""
    chosen = JobFilter(state=JobState.SUCCEEDED)
    for job in store.list_jobs(database, chosen, after=None, limit=1000, ascending=True):
        for name, entry in job.result.get("samples", {}).items():
            rows: Rows = pq.read_table(artifacts.absolute(entry["path"])).to_pylist()
            _check_sums(job, name, entry, rows)
            for row in rows:
                _check_row(row, job.result["classes"])


def _check_sums(job: Job, name: str, entry: dict[str, Any], rows: Rows) -> None:
    reported = job.result.get("reported_valid_loss", job.result.get("reported_loss"))
    weights = [row.get("weight", 1.0) for row in rows]
    mean = sum(w * row["loss"] for w, row in zip(weights, rows, strict=True)) / sum(weights)
    assert len(rows) == entry["count"], job.id
    assert abs(mean - reported) <= 1e-5, f"{job.id}: the rows' mean is {mean}, not {reported}"
    assert abs(sum(row["correct"] for row in rows) / len(rows) - entry["accuracy"]) < 1e-12
    assert sorted(row["rank"] for row in rows) == list(range(1, len(rows) + 1))
    assert abs(sum(row["share_of_total_loss"] for row in rows) - 1) < 1e-6
    parts = Counter(row["split"] for row in rows)
    parts |= {"all": len(rows)} if len(parts) > 1 else {}
    assert {
        part: found["bins"] and sum(each["count"] for each in found["bins"])
        for part, found in entry["calibration"].items()
    } == parts, f"{job.id}, {name}: other photos were calibrated than those of the rows"


def _check_row(row: dict[str, Any], classes: list[str]) -> None:
    logits = row["logits"]
    logsumexp = max(logits) + math.log(sum(math.exp(each - max(logits)) for each in logits))
    plain = row.get("plain_loss", row["loss"])
    assert math.isclose(plain, logsumexp - logits[classes.index(row["label"])], abs_tol=1e-6)
    assert row["predicted"] == classes[logits.index(max(logits))]
    assert row["correct"] == (row["predicted"] == row["label"])
    assert math.isclose(row["p_label"], math.exp(-plain), abs_tol=1e-9)
    if "learning" in row:
        assert row["correct"] == (row["learning"] in _RIGHT)
        assert len(row["predicted_by_epoch"]) == len(row["loss_by_epoch"])
