"""Predictions of a whole dataset, on real workers."""

from collections.abc import Callable, Iterator

import pyarrow.parquet as pq
import pytest

from api.app import create_app
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job, JobState
from jobs.settings import Settings
from tests.api.conftest import TestClient
from tests.api.given import get, problem
from tests.worker.conftest import wait_for
from worker.supervisor import Supervisor

Work = Callable[[str], Supervisor]
ONE_LETTER = {"rule": "regex", "pattern": r"^.+_(.).*\.jpg$"}
"""Labels that the model has never heard of: the first digit of each photo's number."""


@pytest.fixture
def client(quick: Settings) -> Iterator[TestClient]:
    """A client of the service whose workers run here."""
    with TestClient(create_app(quick), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def predicted(
    client: TestClient, trained: Job, database: Database, work: Work, settings: Settings
) -> Job:
    """A prediction of the same photos with other labels, by the alias of the model."""
    client.patch(f"/v1/models/{trained.model_id}", json={"aliases": ["production"]})
    source = {"type": "path", "path": str(settings.dataset_roots[0] / "tiny")}
    dataset = {"name": "unknown", "source": source, "labels": ONE_LETTER}
    body = {"model": "production", "dataset": dataset, "precision": "fp32", "batch_size": 5}
    made = client.post("/v1/predictions", json=body)
    assert made.status_code == 202, made.text
    work("prepare")
    wait_for(database, made.json()["depends_on"][0], lambda job: job.is_terminal)
    work("train")
    job = wait_for(database, made.json()["id"], lambda job: job.is_terminal)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def test_every_photo_is_predicted_whatever_its_label(
    client: TestClient, predicted: Job, trained: Job, artifacts: Artifacts
) -> None:
    ledger = artifacts.absolute(trained.result["samples"]["valid"]["path"])
    expected = {row["path"]: row for row in pq.read_table(ledger).to_pylist()}

    path = f"/v1/jobs/{predicted.id}/predictions"
    listed = get(client, f"{path}?limit=200&expand=probabilities")

    rows = {row["path"]: row for row in listed["data"]}
    assert (len(rows), sum(listed["counts"].values())) == (24, 24)
    assert list(listed["counts"]) == ["blue", "red"]
    for name, row in expected.items():
        assert rows[name]["predicted"] == row["predicted"]
        assert rows[name]["p_predicted"] == pytest.approx(row["p_predicted"], abs=1e-5)
        assert list(rows[name]["logits"].values()) == pytest.approx(row["logits"], abs=1e-5)
    assert {row["dataset_label"] for row in rows.values()} == set("0123456789")


def test_the_least_sure_come_first_page_by_page(client: TestClient, predicted: Job) -> None:
    path = f"/v1/jobs/{predicted.id}/predictions"

    first = get(client, f"{path}?limit=20")
    rest = get(client, f"{path}?limit=20&after={first['next_cursor']}")

    rows = first["data"] + rest["data"]
    assert [row["rank"] for row in rows] == list(range(1, 25))
    sureness = [row["p_predicted"] for row in rows]
    assert sureness == sorted(sureness)
    assert (rows[0]["logits"], rest["has_more"]) == (None, False)
    blue = get(client, f"{path}?predicted=blue&limit=200")["data"]
    assert len(blue) == first["counts"]["blue"]
    problem(client.get(f"{path}?sort=loss"), 422, "validation_failed", "/query/sort")


def test_only_predictions_have_predictions(client: TestClient, trained: Job) -> None:
    answer = client.get(f"/v1/jobs/{trained.id}/predictions")

    assert "which has no predictions" in problem(answer, 404, "not_found")["detail"]


def test_a_part_without_photos_and_a_model_that_does_not_exist_are_refused(
    client: TestClient, trained: Job
) -> None:
    body = {"model": trained.model_id, "dataset": trained.dataset_id}

    for change, code, pointer in (
        ({"split": "test"}, "too_few_images", "/split"),
        ({"model": "nobody"}, "validation_failed", "/model"),
        ({"label_mapping": {}}, "validation_failed", "/label_mapping"),
    ):
        problem(client.post("/v1/predictions", json={**body, **change}), 422, code, pointer)


def test_a_model_is_not_deleted_while_a_prediction_waits_for_it(
    client: TestClient, trained: Job
) -> None:
    body = {"model": trained.model_id, "dataset": trained.dataset_id}
    waiting = client.post("/v1/predictions", json=body).json()["id"]

    refused = problem(client.delete(f"/v1/models/{trained.model_id}"), 409, "model_in_use")

    assert waiting in refused["detail"]
