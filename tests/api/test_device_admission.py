"""Jobs that ask for several devices of one worker."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import presence
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from tests.api.given import a_model, field, get, problem, ready_dataset


@pytest.fixture
def dataset(database: Database) -> Dataset:
    """Eight photos to train with and three to validate."""
    return ready_dataset(database)


def worker(database: Database, device: str, queue: str = "train") -> None:
    presence.announce(
        database, worker_id=f"{queue}-{device}", queue=queue, device=device, hostname="box", pid=1
    )


@pytest.mark.parametrize("path", ["/v1/fine-tunes", "/v1/lr-finds"])
def test_more_devices_than_any_present_worker_owns_are_refused(
    client: TestClient, database: Database, dataset: Dataset, path: str
) -> None:
    worker(database, "cuda:0-1")
    worker(database, "cpu")
    worker(database, "cpu:0-7", queue="prepare")
    body = {"dataset": dataset.id, "batch_size": 4}

    refused = problem(
        client.post(path, json={**body, "devices": 3}), 422, "validation_failed", "/devices"
    )
    accepted = client.post(path, json={**body, "devices": 2})

    said = field(refused, "/devices")["detail"]
    assert "no train worker that is present owns more than 2 devices" in said
    assert "tunesmith worker --devices 0-2" in said
    assert accepted.status_code == 202, accepted.text
    assert accepted.json()["hyperparameters"]["devices"] == 2


def test_an_evaluation_is_refused_likewise(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset
) -> None:
    worker(database, "cpu")
    model = a_model(database, artifacts, dataset)
    body = {"model": model.id, "dataset": dataset.id, "devices": 2}

    refused = problem(
        client.post("/v1/evaluations", json=body), 422, "validation_failed", "/devices"
    )

    assert "owns more than 1 device;" in field(refused, "/devices")["detail"]


def test_without_any_train_worker_such_a_job_waits_for_one(
    client: TestClient, dataset: Dataset
) -> None:
    answer = client.post("/v1/fine-tunes", json={"dataset": dataset.id, "devices": 8})

    assert answer.status_code == 202, answer.text


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"devices": 8, "batch_size": 4}, "8 devices cannot share batches of 4; ask for 4"),
        ({"devices": 0}, "greater than or equal to 1"),
        ({"devices": 65}, "less than or equal to 64"),
    ],
)
def test_devices_without_a_photo_of_each_batch_are_refused(
    client: TestClient, dataset: Dataset, fields: dict[str, Any], says: str
) -> None:
    answer = client.post("/v1/fine-tunes", json={"dataset": dataset.id, **fields})

    refused = problem(answer, 422, "validation_failed", "/devices")
    assert says in field(refused, "/devices")["detail"]


def test_devices_without_a_photo_of_the_dataset_are_refused(
    client: TestClient, dataset: Dataset
) -> None:
    answer = client.post("/v1/fine-tunes", json={"dataset": dataset.id, "devices": 9})

    assert "training on 9 devices needs 9 photos or more" in answer.json()["errors"][0]["detail"]


def test_a_plan_for_several_devices_has_no_estimate(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    worker(database, "cpu:0-1")
    body = {"dataset": dataset.id, "devices": 2, "batch_size": 4}

    plan = client.post("/v1/fine-tunes", params={"dry_run": True}, json=body).json()

    assert plan["resolved"]["devices"]["value"] == 2
    assert plan["no_estimate"]["code"] == "several_devices"


def test_the_queue_shows_how_many_devices_a_worker_owns(
    client: TestClient, database: Database
) -> None:
    worker(database, "cuda:0-3")

    (shown,) = get(client, "/v1/queue")["workers"]

    assert (shown["device"], shown["devices"]) == ("cuda:0-3", 4)
