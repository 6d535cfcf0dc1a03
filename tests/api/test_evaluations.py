"""Evaluations of a model on datasets with other labels, and what their ledgers show."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import leases, store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.job import Job, JobType
from tests.api.given import (
    MEAN_LOSS,
    a_ledger,
    a_model,
    field,
    get,
    problem,
    ready_dataset,
    started,
)

SAMPLE = {
    "name": "cats",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
}


@pytest.fixture
def model_id(database: Database, artifacts: Artifacts) -> str:
    """A model that tells cats from dogs."""
    return a_model(database, artifacts, ready_dataset(database)).id


def evaluate(client: TestClient, model_id: str, dataset: object, **fields: object) -> Any:  # noqa: ANN401
    body = {"model": model_id, "dataset": dataset, **fields}
    return client.post("/v1/evaluations", json=body)


def test_labels_that_the_model_does_not_know_are_refused_by_name(
    client: TestClient, database: Database, model_id: str
) -> None:
    dataset = ready_dataset(database, labels=("Cat", "emu"))

    body = problem(evaluate(client, model_id, dataset.id), 422, "labels_mismatch")

    assert "does not know 'Cat' (4 photos), 'emu' (4 photos) of the dataset" in body["detail"]
    assert "no label of the dataset is its 'cat', 'dog'" in body["detail"]
    assert 'label_mapping {"Cat": "cat"}, or null' in body["detail"]
    assert field(body, "/label_mapping/Cat")["did_you_mean"] == ["cat"]
    assert "did_you_mean" not in field(body, "/label_mapping/emu")


def test_of_many_unknown_labels_a_few_are_named(
    client: TestClient, database: Database, model_id: str
) -> None:
    dataset = ready_dataset(database, labels=[f"emu {number}" for number in range(9)])

    body = problem(evaluate(client, model_id, dataset.id), 422, "labels_mismatch")

    assert "4 more (16 photos)" in body["detail"]
    assert len(body["errors"]) == 5


@pytest.mark.parametrize(
    ("labels", "mapping"),
    [
        (("cat", "dog"), {}),
        (("cat",), {}),
        (("cat", "emu"), {"emu": None}),
        (("tabby", "siamese"), {"tabby": "cat", "siamese": "cat"}),
        (("cat", "dog"), {"dog": "cat"}),
    ],
)
def test_an_evaluation_runs_where_every_label_has_a_class_or_is_left_out(
    client: TestClient,
    database: Database,
    model_id: str,
    labels: tuple[str, ...],
    mapping: dict[str, str | None],
) -> None:
    dataset = ready_dataset(database, labels=labels)

    response = evaluate(client, model_id, dataset.id, label_mapping=mapping)

    assert response.status_code == 202, response.text
    assert response.json()["hyperparameters"]["label_mapping"] == mapping


@pytest.mark.parametrize(
    ("mapping", "code", "pointer", "near"),
    [
        ({"emu": "dogg"}, "labels_mismatch", "/label_mapping/emu", ["dog"]),
        ({"emu": None, "ca/t": "cat"}, "labels_mismatch", "/label_mapping/ca~1t", ["cat"]),
        ({"emu": None, "cat": None}, "too_few_images", "/label_mapping", None),
        ({"emu": 1}, "validation_failed", "/label_mapping/emu", None),
        ([], "validation_failed", "/label_mapping", None),
    ],
)
def test_a_mapping_that_leads_nowhere_is_refused_at_its_place(
    client: TestClient,
    database: Database,
    model_id: str,
    mapping: object,
    code: str,
    pointer: str,
    near: list[str] | None,
) -> None:
    dataset = ready_dataset(database, labels=("cat", "emu"))

    body = problem(
        evaluate(client, model_id, dataset.id, label_mapping=mapping), 422, code, pointer
    )

    assert field(body, pointer).get("did_you_mean") == near


def test_of_a_dataset_that_is_yet_to_be_imported_only_the_classes_are_known(
    client: TestClient, model_id: str
) -> None:
    refused = evaluate(client, model_id, SAMPLE, label_mapping={"tabby": "cet"})
    accepted = evaluate(client, model_id, SAMPLE, label_mapping={"tabby": "cat"})

    body = problem(refused, 422, "labels_mismatch", "/label_mapping/tabby")
    assert "maps to 'cet', which the model does not know; it knows 'cat', 'dog'" in body["detail"]
    assert accepted.status_code == 202


@pytest.fixture
def mapped(database: Database, artifacts: Artifacts) -> Job:
    """An evaluation of a tabby as a cat and of two dogs, in which five foxes were left out."""
    dataset = ready_dataset(database)
    file = artifacts.root / "mapped.parquet"
    a_ledger(dataset, file, {"dataset_label": ["tabby", "dog", "dog"]})
    return ended(database, artifacts, dataset, {"valid": {"lynx": 1, "fox": 4}})


def ended(
    database: Database,
    artifacts: Artifacts,
    dataset: Dataset,
    left_out: dict[str, dict[str, int]],
    *,
    split: str = "valid",
) -> Job:
    """An evaluation with the ledger that was written before."""
    job = started(database, JobType.EVALUATION, dataset)
    entry = {"path": "mapped.parquet", "digest": "l1", "count": 3, "mean_loss": MEAN_LOSS}
    result = {
        "classes": ["cat", "dog"],
        "samples": {split: {**entry, "accuracy": 2 / 3}},
        "reported_loss": MEAN_LOSS,
        "left_out": left_out,
    }
    leases.succeed(database, job.id, job.fence, values={"result": result})
    return store.get(database, job.id)


def test_a_row_shows_the_dataset_s_label_and_the_class_it_was_scored_as(
    client: TestClient, mapped: Job
) -> None:
    page = get(client, f"/v1/jobs/{mapped.id}/samples?sort=path")

    labels = [(row["dataset_label"], row["label"]) for row in page["data"]]
    assert labels == [("tabby", "cat"), ("dog", "dog"), ("dog", "dog")]
    assert page["aggregate"]["mean_loss"] == pytest.approx(MEAN_LOSS)
    assert page["aggregate"]["reported_valid_loss"] == pytest.approx(MEAN_LOSS)


def test_rows_can_be_chosen_by_the_dataset_s_label(client: TestClient, mapped: Job) -> None:
    path = f"/v1/jobs/{mapped.id}/samples"

    assert get(client, f"{path}?dataset_label=tabby")["aggregate"]["count"] == 1
    assert get(client, f"{path}?dataset_label=cat")["aggregate"]["count"] == 0
    assert get(client, f"{path}?label=cat")["aggregate"]["count"] == 1


def test_the_summary_counts_what_was_left_out(client: TestClient, mapped: Job) -> None:
    summary = get(client, f"/v1/jobs/{mapped.id}/samples/summary")

    assert summary["count"] == 3
    assert summary["left_out"] == {
        "count": 5,
        "labels": [{"label": "fox", "count": 4}, {"label": "lynx", "count": 1}],
    }


def test_what_was_left_out_of_all_parts_is_counted_for_each(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    a_ledger(dataset, artifacts.root / "mapped.parquet")
    left_out = {"train": {"fox": 7}, "valid": {"fox": 2}}
    job = ended(database, artifacts, dataset, left_out, split="all")

    def counted(split: str) -> int:
        path = f"/v1/jobs/{job.id}/samples/summary?split={split}"
        return int(get(client, path)["left_out"]["count"])

    assert [counted(split) for split in ("all", "train", "valid", "test")] == [9, 7, 2, 0]


def test_the_confusion_counts_the_classes_that_were_scored(client: TestClient, mapped: Job) -> None:
    confusion = get(client, f"/v1/jobs/{mapped.id}/confusion")

    assert confusion["labels"] == ["cat", "dog"]
    assert confusion["matrix"] == [[1, 0], [1, 1]]


def test_classes_without_photos_have_no_recall_and_do_not_count_in_the_mean(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    file = artifacts.root / "mapped.parquet"
    a_ledger(dataset, file, {"label": ["cat"] * 3, "correct": [True, False, True]})
    job = ended(database, artifacts, dataset, {})

    report = get(client, f"/v1/jobs/{job.id}/classes")

    cat, dog = report["data"]
    # three cats, two of them taken for cats: precision 2/2, recall 2/3
    assert (cat["support"], cat["precision"], cat["recall"]) == (3, 1.0, pytest.approx(2 / 3))
    assert (dog["support"], dog["predicted"], dog["precision"]) == (0, 1, 0.0)
    assert (dog["recall"], dog["f1"], dog["mean_loss"]) == (None, 0.0, None)
    assert report["macro_f1"] == cat["f1"] == pytest.approx(0.8)
