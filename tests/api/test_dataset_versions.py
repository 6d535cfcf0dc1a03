"""Versions of datasets over HTTP: what is refused where, what is queued, lineage, whose it is."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update
from starlette.testclient import TestClient

from jobs import datasets, store, tables, uploads, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.ids import DatasetId, item_id
from jobs.job import JobType
from jobs.keys import Scope
from tests.api.given import bearer, field, get, photo, problem, ready_dataset
from tests.jobs.given import a_dataset, a_job

ROWS: Mapping[str, Sequence[Any]] = {
    "label": ["cat", "cat", "dog", "dog", "dog", None],
    "split": ["train", "valid", "train", "train", None, None],
    "usable": [True, True, True, True, True, False],
    "reason": [None, None, None, None, None, "truncated"],
}
"""Photos 0 to 3 have a part, 4 has none, 5 is no photo."""


@pytest.fixture
def dataset(database: Database, artifacts: Artifacts) -> Dataset:
    """A ready dataset of a cat and two dogs to train on, and a cat to validate."""
    made = ready_dataset(database, train=3, valid=1)
    classes = [{"label": "cat", "count": 2}, {"label": "dog", "count": 2}]
    _set(database, made.id, classes=classes)
    table = {"item_id": [photo(made, place) for place in range(6)], **ROWS}
    file = artifacts.items_file(made.id)
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table(table), file)
    return datasets.get(database, made.id)


def _set(database: Database, dataset_id: str, **values: object) -> None:
    with database.write() as connection:
        connection.execute(
            update(tables.datasets).where(tables.datasets.c.id == dataset_id).values(**values)
        )


def version(client: TestClient, dataset: Dataset, **body: object) -> Any:  # noqa: ANN401
    # escaped, so that halves of surrogate pairs can be sent
    content, headers = json.dumps(body), {"Content-Type": "application/json"}
    return client.post(f"/v1/datasets/{dataset.id}/versions", content=content, headers=headers)


def relabel(dataset: Dataset, number: int, label: str) -> dict[str, str]:
    return {"item": photo(dataset, number), "label": label}


def test_a_version_is_a_dataset_whose_job_is_queued_and_which_names_its_parent(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    body = {"relabel": [relabel(dataset, 0, "dog")], "exclude": [photo(dataset, 3)]}

    response = client.post(f"/v1/datasets/{dataset.id}/versions", json=body)

    child = response.json()
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/datasets/{child['id']}"
    assert response.headers["retry-after"] == "2"
    assert (child["state"], child["parent_id"], child["name"]) == ("importing", dataset.id, "pets")
    assert child["metadata"] == {"for": "tests"}
    assert store.get(database, child["job_id"]).type == JobType.DATASET_IMPORT
    assert get(client, f"/v1/datasets/{child['id']}") == child


def test_lineage_can_be_followed_both_ways(client: TestClient, dataset: Dataset) -> None:
    children = [
        version(client, dataset, exclude=[photo(dataset, number)]).json() for number in (2, 3)
    ]
    shown = get(client, f"/v1/datasets/{dataset.id}")

    found = get(client, shown["links"]["versions"])

    assert shown["parent_id"] is None
    assert "parent" not in shown["links"]
    assert [each["id"] for each in found["data"]] == [each["id"] for each in reversed(children)]
    assert get(client, children[0]["links"]["parent"]) == shown
    assert get(client, "/v1/datasets?parent_id=ds_none")["data"] == []


def test_a_version_may_have_its_own_name_and_metadata(client: TestClient, dataset: Dataset) -> None:
    child = version(client, dataset, exclude=[photo(dataset, 3)], name="clean", metadata={}).json()

    assert (child["name"], child["metadata"]) == ("clean", {})


def test_equal_requests_with_one_key_make_one_version(client: TestClient, dataset: Dataset) -> None:
    path, key = f"/v1/datasets/{dataset.id}/versions", {"Idempotency-Key": "k1"}
    body = {"exclude": [photo(dataset, 3)]}

    first, second = (client.post(path, json=body, headers=key) for _ in range(2))
    other = client.post(path, json={"exclude": [photo(dataset, 2)]}, headers=key)

    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"
    problem(other, 422, "idempotency_key_reused")


def test_photos_that_the_dataset_does_not_have_are_refused_each_at_its_place(
    client: TestClient, dataset: Dataset
) -> None:
    strange = item_id(DatasetId("ds_other"), "0.jpg")
    body = {
        "relabel": [relabel(dataset, 0, "dog"), {"item": strange, "label": "dog"}],
        "exclude": [photo(dataset, 3), f"{strange}0"],
    }

    refused = problem(version(client, dataset, **body), 422, "validation_failed")

    assert [each["pointer"] for each in refused["errors"]] == ["/relabel/1/item", "/exclude/1"]
    assert field(refused, "/relabel/1/item")["code"] == "not_found"
    assert f"has no photo '{strange}'" in refused["detail"]


def test_a_photo_is_named_once(client: TestClient, dataset: Dataset) -> None:
    body = {
        "relabel": [relabel(dataset, 0, "dog"), relabel(dataset, 0, "fox")],
        "exclude": [photo(dataset, 3), photo(dataset, 0)],
    }

    refused = problem(version(client, dataset, **body), 422, "validation_failed")

    assert [each["pointer"] for each in refused["errors"]] == ["/relabel/1/item", "/exclude/1"]
    assert "named at /relabel/0/item already" in field(refused, "/exclude/1")["detail"]


@pytest.mark.parametrize(
    ("number", "label", "pointer", "named"),
    [
        (0, "cat", "/relabel/0/label", "has the label 'cat' already"),
        (5, "cat", "/relabel/0/item", "cannot be used, whatever its label: truncated"),
    ],
)
def test_a_label_that_changes_nothing_is_refused(
    client: TestClient, dataset: Dataset, number: int, label: str, pointer: str, named: str
) -> None:
    response = version(client, dataset, relabel=[relabel(dataset, number, label)])

    assert named in field(problem(response, 422, "validation_failed", pointer), pointer)["detail"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, ""),
        ({"relabel": [], "exclude": []}, ""),
        ({"exlude": ["itm_1"]}, "/exlude"),
        ({"relabel": [{"item": "itm_1", "label": ""}]}, "/relabel/0/label"),
        ({"relabel": [{"item": "itm_1", "label": "\ud800"}]}, "/relabel/0/label"),
        ({"relabel": [{"item": "itm_1"}]}, "/relabel/0/label"),
        ({"exclude": ["ds_1"]}, "/exclude/0"),
        ({"exclude": ["itm_1"] * 10_001}, "/exclude"),
        ({"exclude": ["itm_1"], "parent": "ds_1"}, "/parent"),
    ],
)
def test_a_body_that_says_nothing_clear_is_refused(
    client: TestClient, dataset: Dataset, body: dict[str, Any], pointer: str
) -> None:
    problem(version(client, dataset, **body), 422, "validation_failed", pointer)


def test_the_last_class_but_one_cannot_be_taken_away(client: TestClient, dataset: Dataset) -> None:
    cats = [relabel(dataset, number, "dog") for number in (0, 1)]

    relabelled = problem(version(client, dataset, relabel=cats), 422, "too_few_classes", "/relabel")
    excluded = version(client, dataset, exclude=[photo(dataset, number) for number in (0, 1)])

    assert "all 4 photos have the one label 'dog'" in relabelled["detail"]
    problem(excluded, 422, "too_few_classes", "/exclude")


def test_fewer_than_two_photos_to_train_on_are_refused(
    client: TestClient, dataset: Dataset
) -> None:
    dogs, fox = [photo(dataset, number) for number in (2, 3)], relabel(dataset, 1, "fox")

    response = version(client, dataset, exclude=dogs, relabel=[fox])

    refused = problem(response, 422, "too_few_images", "/exclude")

    assert "of 2 photos 1 would be left to train on" in refused["detail"]


def test_two_classes_can_be_made_one_if_another_is_left(
    client: TestClient, dataset: Dataset
) -> None:
    body = [relabel(dataset, 0, "dog"), relabel(dataset, 1, "fox")]

    assert version(client, dataset, relabel=body).status_code == 202


def test_photos_without_a_part_do_not_count(client: TestClient, dataset: Dataset) -> None:
    outside = [photo(dataset, number) for number in (4, 5)]

    assert version(client, dataset, exclude=outside).status_code == 202


def test_a_dataset_that_is_not_ready_has_no_versions(
    client: TestClient, database: Database
) -> None:
    dataset = a_dataset(database)

    refused = problem(version(client, dataset, exclude=["itm_1"]), 409, "dataset_not_ready")

    assert refused["state"] == "importing"


def test_an_unknown_dataset_has_no_versions(client: TestClient) -> None:
    response = client.post("/v1/datasets/ds_none/versions", json={"exclude": ["itm_1"]})

    assert "'ds_none'" in problem(response, 404, "not_found")["detail"]


def test_a_parent_stays_until_its_version_is_made(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    child = version(client, dataset, exclude=[photo(dataset, 3)]).json()
    a_job(database)

    refused = problem(client.delete(f"/v1/datasets/{dataset.id}"), 409, "dataset_in_use")
    verbs.cancel(database, child["job_id"])

    assert child["job_id"] in refused["detail"]
    assert client.delete(f"/v1/datasets/{dataset.id}").status_code == 204
    assert get(client, f"/v1/datasets/{child['id']}")["parent_id"] == dataset.id


def test_a_failed_version_is_made_again_of_the_same_parent(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    body = {"relabel": [relabel(dataset, 0, "dog")], "name": "mended"}
    child = version(client, dataset, **body).json()
    verbs.cancel(database, child["job_id"])

    again = client.post(f"/v1/jobs/{child['job_id']}/retry", json={"overrides": {"name": "second"}})

    assert again.status_code == 202, again.text
    made = get(client, f"/v1/datasets/{again.json()['dataset_id']}")
    asked = again.json()["hyperparameters"]["version"]
    assert made["id"] != child["id"]
    assert (made["name"], made["parent_id"]) == ("second", dataset.id)
    assert (asked["relabel"], asked["parent"]) == (body["relabel"], dataset.id)


def test_a_failed_version_of_a_dataset_that_is_gone_is_not_made_again(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    child = version(client, dataset, exclude=[photo(dataset, 3)]).json()
    verbs.cancel(database, child["job_id"])
    datasets.delete_dataset(database, dataset.id)

    refused = client.post(f"/v1/jobs/{child['job_id']}/retry")

    problem(refused, 422, "validation_failed", "/overrides/parent")


def test_an_upload_is_not_needed_for_a_version_of_its_dataset(
    client: TestClient, database: Database, artifacts: Artifacts, dataset: Dataset
) -> None:
    arrived = artifacts.uploads_folder() / "arrived"
    arrived.parent.mkdir(parents=True)
    arrived.write_bytes(b"an archive")
    received = uploads.Received(filename=None, format="zip", digest="d", size_bytes=10)
    upload_id = uploads.keep(database, artifacts, arrived, received)
    with database.write() as connection:
        uploads.add(connection, upload_id, received, owner="local")
    source = {"type": "upload", "upload_id": upload_id}
    _set(database, dataset.id, spec={**dataset.spec, "source": source})
    assert version(client, dataset, exclude=[photo(dataset, 3)]).status_code == 202

    assert client.delete(f"/v1/uploads/{upload_id}").status_code == 204


def test_versions_need_the_scope_for_datasets_and_are_of_ones_own(
    locked: TestClient, database: Database, dataset: Dataset
) -> None:
    path, body = f"/v1/datasets/{dataset.id}/versions", {"exclude": [photo(dataset, 3)]}

    def asked(*scopes: Scope, owner: str) -> Any:  # noqa: ANN401
        return locked.post(path, json=body, headers=bearer(database, *scopes, owner=owner))

    problem(asked(Scope.JOBS_WRITE, owner="local"), 403, "forbidden")
    problem(asked(Scope.DATASETS_WRITE, owner="ben"), 404, "not_found")
    assert asked(Scope.DATASETS_WRITE, owner="local").status_code == 202
