"""Evaluations on datasets with other labels than the model's, on real workers."""

from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState
from jobs.settings import Settings
from jobs.spec import EvaluationSpec
from jobs.submission import submit
from tests.worker.conftest import fine_tune_spec, wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
Evaluate = Callable[..., Job]

INITIALS = {"rule": "regex", "pattern": r"^(.).+_\d+\.jpg$"}
"""Labels the photos of blue b and those of red r."""


@pytest.fixture
def evaluate(database: Database, work: Work, dataset_id: str, settings: Settings) -> Evaluate:
    """Runs an evaluation of a model of blue and red on the same photos with other labels."""
    with database.write() as connection:
        trained = submit(connection, fine_tune_spec(dataset_id, epochs=1)).job
    work("train")
    model_id = wait_for(database, trained.id, lambda job: job.is_terminal).model_id

    def run(labels: dict[str, str], mapping: dict[str, str | None], split: str = "all") -> Job:
        source = {"type": "path", "path": str(settings.dataset_roots[0] / "tiny")}
        body = {
            "model": model_id,
            "dataset": {"name": "again", "source": source, "labels": labels},
            "label_mapping": mapping,
            "split": split,
            "precision": "fp32",
        }
        with database.write() as connection:
            made = submit(connection, EvaluationSpec.model_validate(body))
        work("prepare")
        wait_for(database, made.before[0].id, lambda job: job.is_terminal)
        work("train")
        return wait_for(database, made.job.id, lambda job: job.is_terminal)

    return run


def rows(job: Job, artifacts: Artifacts, split: str = "all") -> list[dict[str, Any]]:
    assert job.state == JobState.SUCCEEDED, job.error
    path = artifacts.absolute(job.result["samples"][split]["path"])
    found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    mean = sum(row["loss"] for row in found) / len(found)
    assert mean == pytest.approx(job.result["reported_loss"], abs=1e-9)
    return found


def test_photos_are_scored_as_the_mapping_says(evaluate: Evaluate, artifacts: Artifacts) -> None:
    both = evaluate(INITIALS, {"b": "blue", "r": "red"})
    one = evaluate(INITIALS, {"b": "blue", "r": None})
    all_blue = evaluate(INITIALS, {"b": "blue", "r": "blue"})

    loss_of = {row["path"]: row["loss"] for row in rows(both, artifacts)}
    assert both.result["left_out"] == {}
    assert len(loss_of) == 24
    kept = rows(one, artifacts)
    assert {row["path"]: row["loss"] for row in kept} == {
        path: pytest.approx(loss, abs=1e-5) for path, loss in loss_of.items() if "blue" in path
    }
    assert {(row["dataset_label"], row["label"]) for row in kept} == {("b", "blue")}
    # the random split of a fifth is stratified: of twelve photos two are kept for validation
    assert one.result["left_out"] == {"train": {"r": 10}, "valid": {"r": 2}}
    assert {(row["dataset_label"], row["label"]) for row in rows(all_blue, artifacts)} == {
        ("b", "blue"),
        ("r", "blue"),
    }
    assert all_blue.result["classes"] == ["blue", "red"]


def test_labels_that_only_the_import_knows_fail_the_job_by_name_with_their_photos(
    evaluate: Evaluate,
) -> None:
    job = evaluate(INITIALS, {"r": "red"})

    assert job.error is not None
    assert job.error["code"] == "labels_mismatch"
    assert job.error["message"].startswith(
        "the model does not know 'b' (12 photos) of the dataset; "
        "no label of the dataset is its 'blue'"
    )
    assert "label_mapping" in job.error["hint"]


def test_an_entry_for_a_label_that_the_import_has_not_found_fails_the_job(
    evaluate: Evaluate,
) -> None:
    job = evaluate(INITIALS, {"b": "blue", "r": "red", "red": None})

    assert job.error is not None
    assert (job.error["code"], job.error["message"]) == (
        "labels_mismatch",
        "label_mapping names 'red', which the dataset does not have; it has 'b', 'r'",
    )


def test_a_part_of_which_everything_is_left_out_fails_the_job(evaluate: Evaluate) -> None:
    job = evaluate(INITIALS, {"b": None, "r": None}, "valid")

    assert job.error is not None
    assert job.error["code"] == "too_few_images"
    assert "label_mapping leaves out every photo of the part 'valid'" in job.error["message"]
