"""What a ledger says beyond one loss for each photo: epochs, suspect labels, calibration."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Job
from ml.theory.calibration import calibration
from tests.api.given import (
    EVERY_COLUMN,
    LOGITS,
    LOSSES,
    MEAN_LOSS,
    TARGETS,
    a_model,
    evaluated,
    evaluated_fully,
    get,
    problem,
    ready_dataset,
)


@pytest.fixture
def job(database: Database, artifacts: Artifacts) -> Job:
    return evaluated_fully(database, artifacts, ready_dataset(database))


@pytest.fixture
def old(database: Database, artifacts: Artifacts) -> Job:
    """A fine-tune whose ledger an earlier version has written."""
    return evaluated(database, artifacts, ready_dataset(database))


def test_a_row_says_what_became_of_its_photo(client: TestClient, job: Job) -> None:
    worst = get(client, f"/v1/jobs/{job.id}/samples?limit=1")["data"][0]

    assert worst["predicted_by_epoch"] == ["dog", "cat"]
    assert (worst["learning"], worst["forgetting_events"]) == ("forgotten", 1)
    assert (worst["label_issue_score"], worst["is_label_issue"]) == (0.9, True)


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("learning=forgotten", ["2.jpg"]),
        ("learning=learned", ["0.jpg", "1.jpg"]),
        ("learning=never_learned", []),
        ("is_label_issue=true", ["2.jpg"]),
        ("is_label_issue=false", ["0.jpg", "1.jpg"]),
    ],
)
def test_rows_are_chosen_by_what_became_of_them(
    client: TestClient, job: Job, query: str, paths: list[str]
) -> None:
    page = get(client, f"/v1/jobs/{job.id}/samples?sort=path&{query}")

    assert [row["path"] for row in page["data"]] == paths


@pytest.mark.parametrize("sort", ["-label_issue_score", "-forgetting_events"])
def test_rows_are_sorted_by_what_became_of_them(client: TestClient, job: Job, sort: str) -> None:
    path = f"/v1/jobs/{job.id}/samples?limit=1&sort={sort}"

    first = get(client, path)
    second = get(client, f"{path}&after={first['next_cursor']}")

    assert first["data"][0]["path"] == "2.jpg"
    assert second["data"][0]["path"] != "2.jpg"


def test_the_summary_counts_what_became_of_the_photos(client: TestClient, job: Job) -> None:
    summary = get(client, f"/v1/jobs/{job.id}/samples/summary")

    assert summary["learning"] == {"learned": 2, "flipped": 0, "forgotten": 1, "never_learned": 0}
    assert summary["label_issues"] == {"count": 1, "is_out_of_sample": True}


def test_the_summary_names_the_hardest_classes(client: TestClient, job: Job) -> None:
    dog, cat = get(client, f"/v1/jobs/{job.id}/samples/summary")["hardest_classes"]

    assert (dog["label"], dog["count"], dog["correct"]) == ("dog", 2, 1)
    assert dog["mean_loss"] == pytest.approx((LOSSES[1] + LOSSES[2]) / 2)
    assert dog["share_of_total_loss"] + cat["share_of_total_loss"] == pytest.approx(1.0)
    assert cat["share_of_total_loss"] == pytest.approx(LOSSES[0] / sum(LOSSES))


def test_the_summary_has_the_calibration_that_the_worker_found(
    client: TestClient, job: Job
) -> None:
    shown = get(client, f"/v1/jobs/{job.id}/samples/summary")["calibration"]

    found = calibration(LOGITS, TARGETS)
    assert found is not None
    assert shown["temperature"] == pytest.approx(found.temperature)
    assert shown["expected_error"] == pytest.approx(found.expected_error)
    assert sum(each["count"] for each in shown["bins"]) == 3
    assert shown["loss"] == pytest.approx(MEAN_LOSS)


@pytest.mark.parametrize(("split", "expected"), [("valid", True), ("test", True), ("train", False)])
def test_an_evaluation_says_whether_its_model_has_learned_from_the_photos(
    client: TestClient, database: Database, artifacts: Artifacts, split: str, expected: bool
) -> None:
    dataset = ready_dataset(database)
    job = evaluated_fully(
        database, artifacts, dataset, split, a_model(database, artifacts, dataset)
    )

    assert label_issues(client, job)["is_out_of_sample"] is expected


def test_of_photos_of_another_dataset_it_is_not_known(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    model = a_model(database, artifacts, ready_dataset(database))
    job = evaluated_fully(database, artifacts, ready_dataset(database), "valid", model)

    assert label_issues(client, job)["is_out_of_sample"] is None


def test_of_a_model_that_is_gone_it_is_not_known(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    model = a_model(database, artifacts, dataset)
    job = evaluated_fully(database, artifacts, dataset, "valid", model)
    assert client.delete(f"/v1/models/{model.id}").status_code == 204

    assert label_issues(client, job)["is_out_of_sample"] is None


def label_issues(client: TestClient, job: Job) -> dict[str, Any]:
    found: dict[str, Any] = get(client, f"/v1/jobs/{job.id}/samples/summary")["label_issues"]
    return found


def test_a_ledger_of_an_earlier_version_is_read_without_what_it_does_not_have(
    client: TestClient, old: Job
) -> None:
    row = get(client, f"/v1/jobs/{old.id}/samples?limit=1")["data"][0]
    summary = get(client, f"/v1/jobs/{old.id}/samples/summary")

    for name in EVERY_COLUMN:
        assert row[name] is None
    for name in ("learning", "label_issues", "calibration"):
        assert summary[name] is None
    assert summary["hardest_classes"][0]["label"] == "dog"


@pytest.mark.parametrize("query", ["learning=learned", "is_label_issue=true"])
def test_a_filter_by_what_a_ledger_does_not_have_is_refused(
    client: TestClient, old: Job, query: str
) -> None:
    response = client.get(f"/v1/jobs/{old.id}/samples?{query}")

    name = query.split("=")[0]
    body = problem(response, 422, "validation_failed", f"/query/{name}")
    assert f"has no {name}: it is of an earlier version, or not of a fine-tune" in body["detail"]


@pytest.mark.parametrize("sort", ["-label_issue_score", "forgetting_events"])
def test_a_ledger_is_not_sorted_by_what_it_does_not_have(
    client: TestClient, old: Job, sort: str
) -> None:
    response = client.get(f"/v1/jobs/{old.id}/samples?sort={sort}")

    problem(response, 422, "validation_failed", "/query/sort")
