"""Predictions of a whole dataset, on real workers."""

import csv
import io
import json
from collections.abc import Callable, Iterator

import pyarrow.parquet as pq
import pytest
from httpx import Response

from api.app import create_app
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.job import Job, JobState
from jobs.settings import Settings
from tests.api.conftest import TestClient
from tests.api.given import get, problem
from tests.worker.conftest import import_folder, wait_for
from tests.worker.photos import write_photos
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


def test_predictions_come_as_csv_json_lines_and_parquet(client: TestClient, predicted: Job) -> None:
    path = f"/v1/jobs/{predicted.id}/predictions"
    rows = get(client, f"{path}?limit=200&expand=probabilities")["data"]

    def file(media_type: str, query: str = "") -> Response:
        answer: Response = client.get(f"{path}{query}", headers={"Accept": media_type})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith(media_type)
        assert f'filename="{predicted.id}-predictions.' in answer.headers["content-disposition"]
        return answer

    table = list(csv.DictReader(io.StringIO(file("text/csv", "?expand=probabilities").text)))
    lines = [json.loads(line) for line in file("application/x-ndjson", "?sort=path").iter_lines()]
    columns = pq.read_table(io.BytesIO(file("application/vnd.apache.parquet").content))

    assert [(row["path"], int(row["rank"])) for row in table] == [
        (row["path"], row["rank"]) for row in rows
    ]
    for written, row in zip(table, rows, strict=True):
        for label, p in row["probabilities"].items():
            assert float(written[f"p_{label}"]) == pytest.approx(p)
    plain = [{**row, "logits": None, "probabilities": None} for row in rows]
    assert lines == sorted(plain, key=lambda row: str(row["path"]))
    assert columns.column("path").to_pylist() == [row["path"] for row in rows]
    assert columns.column("logits").to_pylist()[0] == list(rows[0]["logits"].values())


def test_a_file_of_predictions_has_no_pages_and_of_parquet_no_other_order(
    client: TestClient, predicted: Job
) -> None:
    path, parquet = f"/v1/jobs/{predicted.id}/predictions", "application/vnd.apache.parquet"

    for query, accept, pointer in (
        ("limit=5", "text/csv", "/query/limit"),
        ("sort=-path", parquet, "/query/sort"),
        ("expand=probabilities", parquet, "/query/expand"),
    ):
        answer = client.get(f"{path}?{query}", headers={"Accept": accept})
        problem(answer, 422, "validation_failed", pointer)
    problem(client.get(path, headers={"Accept": "text/html"}), 406, "not_acceptable")


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


# --- photos without labels ------------------------------------------------------------------


@pytest.fixture
def unlabelled(trained: Job, database: Database, work: Work, settings: Settings) -> Dataset:
    """Photos of which nobody says what they are, one of them unreadable."""
    assert trained.model_id is not None
    folder = settings.dataset_roots[0] / "unlabelled"
    write_photos(folder, per_class=6)
    (folder / "broken.jpg").write_bytes(b"no photo")
    return import_folder(database, work, folder, labels={"rule": "none"})


def test_photos_without_labels_are_imported_without_classes(
    client: TestClient, unlabelled: Dataset
) -> None:
    path = f"/v1/datasets/{unlabelled.id}"
    dataset, report = get(client, path), get(client, f"{path}/report")
    items = get(client, f"{path}/items?limit=200")["data"]

    assert (dataset["state"], dataset["classes"]) == ("ready", [])
    assert dataset["counts"] == {
        **{"files": 13, "usable": 12, "classes": 0},
        **{"train": 9, "valid": 3, "test": 0},
    }
    assert {item["label"] for item in items} == {None}
    assert report["unmatched"] == {"count": 0, "examples": []}
    assert [each["path"] for each in report["unreadable"]] == ["broken.jpg"]
    assert [each["code"] for each in report["warnings"]] == ["unreadable_images"]


def test_photos_without_labels_are_predicted(
    client: TestClient, unlabelled: Dataset, trained: Job, database: Database, work: Work
) -> None:
    body = {"model": trained.model_id, "dataset": unlabelled.id, "precision": "fp32"}

    job_id = client.post("/v1/predictions", json=body).json()["id"]
    work("train")
    assert wait_for(database, job_id, lambda job: job.is_terminal).state == JobState.SUCCEEDED

    rows = get(client, f"/v1/jobs/{job_id}/predictions?limit=200")["data"]
    assert len(rows) == 12
    assert {row["dataset_label"] for row in rows} == {None}
    lines = client.get(f"/v1/jobs/{job_id}/predictions", headers={"Accept": "text/csv"}).text
    assert next(csv.DictReader(io.StringIO(lines)))["dataset_label"] == ""


def test_nothing_is_trained_on_photos_without_labels_nor_measured(
    client: TestClient, unlabelled: Dataset, trained: Job
) -> None:
    inline = {"name": "new", "source": {"type": "sample"}, "labels": {"rule": "none"}}
    evaluation = {"model": trained.model_id, "split": "all"}

    for path, body in (
        ("/v1/fine-tunes", {}),
        ("/v1/lr-finds", {}),
        ("/v1/fine-tunes?dry_run=true", {}),
        ("/v1/evaluations", evaluation),
    ):
        for dataset, pointer in ((unlabelled.id, "/dataset"), (inline, "/dataset/labels/rule")):
            answer = client.post(path, json={**body, "dataset": dataset})
            refused = problem(answer, 422, "too_few_classes", pointer)
            assert "a model can predict them and nothing else" in refused["detail"]


@pytest.mark.slow
def test_of_photos_without_labels_some_may_be_left_out_and_none_is_labelled_alone(
    client: TestClient, unlabelled: Dataset, database: Database, work: Work
) -> None:
    path = f"/v1/datasets/{unlabelled.id}"
    ids = [
        item["item_id"] for item in get(client, f"{path}/items?limit=200")["data"] if item["usable"]
    ]
    relabel = {"relabel": [{"item": ids[0], "label": "red"}]}

    refused = problem(client.post(f"{path}/versions", json=relabel), 422, "validation_failed")
    assert "register its photos again" in refused["detail"]
    everything = client.post(f"{path}/versions", json={"exclude": ids})
    problem(everything, 422, "too_few_images", "/exclude")
    made = client.post(f"{path}/versions", json={"exclude": ids[:2]}).json()
    work("prepare")
    assert wait_for(database, made["job_id"], lambda job: job.is_terminal).error is None

    assert get(client, f"/v1/datasets/{made['id']}")["counts"]["usable"] == 10


def test_a_dry_run_of_photos_without_labels_misses_none(client: TestClient) -> None:
    body = {"name": "new", "source": {"type": "sample"}, "labels": {"rule": "none"}}

    plan = client.post("/v1/datasets?dry_run=true", json=body).json()

    assert (plan["obstacles"], plan["unmatched"]["count"], plan["classes"]) == ([], 0, [])
    assert sum(plan["counts"].values()) == plan["names"] == 360
