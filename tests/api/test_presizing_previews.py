"""Presizing previews over HTTP: what is refused, and what is answered once a worker is done."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.job import Job, JobType
from jobs.keys import Scope
from tests.api.given import (
    COMPARED,
    a_drawer,
    bearer,
    field,
    get,
    items,
    photo,
    previewed,
    problem,
    queued,
    ready_dataset,
    started,
    succeeded,
)
from tests.api.test_auth import given_to
from tests.jobs.given import a_dataset

PATH = "/v1/presizing-previews"
INLINE = {
    "name": "cats",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
}


@pytest.fixture
def dataset(database: Database, artifacts: Artifacts) -> Dataset:
    """A ready dataset of two photos and a file that is none."""
    dataset = ready_dataset(database)
    items(dataset, artifacts)
    return dataset


@pytest.fixture
def done(database: Database, dataset: Dataset) -> Job:
    """A preview that has succeeded."""
    return previewed(database, dataset)


def result_of(job: Job) -> str:
    """The address of what it found."""
    return f"/v1/jobs/{job.id}/presizing-preview"


def test_a_preview_needs_nothing_but_a_dataset(client: TestClient, dataset: Dataset) -> None:
    response = client.post(PATH, json={"dataset": dataset.id})

    body = response.json()
    assert response.status_code == 202, body
    assert response.headers["location"] == f"/v1/jobs/{body['id']}"
    assert (body["type"], body["state"]) == ("presizing_preview", "queued")
    assert body["hyperparameters"]["images"] == 4
    assert body["hyperparameters"]["draws"] is None
    assert body["links"]["presizing_preview"] == f"/v1/jobs/{body['id']}/presizing-preview"
    assert body["links"]["plots"] == f"/v1/jobs/{body['id']}/plots"
    assert get(client, "/v1/jobs?type=presizing_preview")["data"][0]["id"] == body["id"]


def test_it_waits_in_the_queue_of_workers_without_a_device(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    client.post(PATH, json={"dataset": dataset.id})

    assert store.queue_counts(database)["prepare"] == {"queued": 1}


def test_photos_of_any_part_can_be_named_even_unreadable_ones(
    client: TestClient, dataset: Dataset
) -> None:
    named = [photo(dataset, number) for number in (2, 1, 0)]

    response = client.post(PATH, json={"dataset": dataset.id, "images": named})

    assert response.status_code == 202, response.text
    assert response.json()["hyperparameters"]["images"] == named


def test_an_inline_dataset_is_registered_on_the_way(client: TestClient) -> None:
    response = client.post(PATH, json={"dataset": INLINE, "images": 2})

    body = response.json()
    assert response.status_code == 202, body
    (needed,) = body["depends_on"]
    assert get(client, f"/v1/jobs/{needed}")["type"] == "dataset_import"
    assert get(client, f"/v1/datasets/{body['dataset_id']}")["state"] == "importing"


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"size": 256, "presize": 224}, "/presize", "invalid"),
        ({"images": 0}, "/images", "out_of_range"),
        ({"images": 17}, "/images", "out_of_range"),
        ({"images": []}, "/images", "too_short"),
        ({"images": [f"itm_{number}" for number in range(17)]}, "/images", "too_long"),
        ({"images": ["job_1"]}, "/images/0", "invalid"),
        ({"images": ["itm_1", "itm_1"]}, "/images", "invalid"),
        ({"images": ["itm_1"]}, "/images/0", "not_found"),
        ({"draws": {"rotate_deg": 181}}, "/draws/rotate_deg", "out_of_range"),
        ({"draws": {"zoom": 0.5}}, "/draws/zoom", "out_of_range"),
        ({"draws": {"warp": [0.1]}}, "/draws/warp", "too_short"),
        ({"draws": {"warp": [0.1, 0.5]}}, "/draws/warp/1", "out_of_range"),
        ({"draws": {"rotate": 30}}, "/draws/rotate", "unknown_field"),
        ({"augment": {"max_zoom": 9}}, "/augment/max_zoom", "out_of_range"),
        ({"presize_mode": "single"}, "/presize_mode", "unknown_field"),
        ({"depends_on": ["job_gone"]}, "/depends_on/0", "not_found"),
    ],
)
def test_a_field_that_does_not_fit_is_named(
    client: TestClient, dataset: Dataset, changes: dict[str, Any], pointer: str, code: str
) -> None:
    response = client.post(PATH, json={"dataset": dataset.id, **changes})

    body = problem(response, 422, "validation_failed", pointer)
    assert field(body, pointer)["code"] == code


def test_each_photo_that_the_dataset_does_not_have_is_named(
    client: TestClient, dataset: Dataset
) -> None:
    strangers = ["itm_1", photo(dataset, 0), "itm_2"]

    response = client.post(PATH, json={"dataset": dataset.id, "images": strangers})

    body = problem(response, 422, "validation_failed")
    assert [each["pointer"] for each in body["errors"]] == ["/images/0", "/images/2"]
    assert f"GET /v1/datasets/{dataset.id}/items" in body["detail"]


def test_photos_of_an_inline_dataset_have_no_ids_yet(client: TestClient) -> None:
    response = client.post(PATH, json={"dataset": INLINE, "images": ["itm_1"]})

    problem(response, 422, "validation_failed", "/images")


def test_without_a_training_part_photos_have_to_be_named(
    client: TestClient, database: Database
) -> None:
    untrained = ready_dataset(database, train=0)

    problem(client.post(PATH, json={"dataset": untrained.id}), 422, "too_few_images", "/images")


def test_a_dataset_has_to_be_there_and_ready(client: TestClient, database: Database) -> None:
    importing = a_dataset(database)

    problem(client.post(PATH, json={"dataset": importing.id}), 409, "dataset_not_ready")
    problem(client.post(PATH, json={"dataset": "ds_1"}), 422, "validation_failed", "/dataset")
    problem(client.post(PATH, json={}), 422, "validation_failed", "/dataset")
    refused = {**INLINE, "source": {"type": "path", "path": "/etc"}}
    problem(
        client.post(PATH, json={"dataset": refused}),
        422,
        "source_forbidden",
        "/dataset/source/path",
    )


def test_equal_requests_with_one_key_make_one_preview(client: TestClient, dataset: Dataset) -> None:
    key = {"Idempotency-Key": "preview-1"}

    first, second = (client.post(PATH, json={"dataset": dataset.id}, headers=key) for _ in range(2))

    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotency-replayed"] == "true"


def test_what_was_found_is_answered_with_the_way_to_its_pictures(
    client: TestClient, dataset: Dataset, done: Job
) -> None:
    body = get(client, result_of(done))

    assert {name: body[name] for name in COMPARED} == json.loads(json.dumps(COMPARED))
    assert (body["job_id"], body["dataset_id"]) == (done.id, dataset.id)
    assert body["links"]["png"] == f"/v1/jobs/{done.id}/plots/presizing-preview.png"
    plots = get(client, f"/v1/jobs/{done.id}/plots")["data"]
    assert [plot["links"]["png"] for plot in plots] == [body["links"]["png"]]


def test_what_was_found_is_not_sent_again(client: TestClient, done: Job) -> None:
    etag = client.get(result_of(done)).headers["etag"]

    again = client.get(result_of(done), headers={"If-None-Match": etag})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag


def test_numbers_without_a_value_are_null(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    nothing = dict.fromkeys(("energy_kept", "psnr_db"))
    means = {"single": {**COMPARED["means"]["single"], **nothing}}
    job = succeeded(
        database,
        JobType.PRESIZING_PREVIEW,
        dataset,
        {"presizing_preview": {**COMPARED, "means": means}},
    )

    found = get(client, result_of(job))["means"]["single"]

    assert (found["energy_kept"], found["psnr_db"]) == (None, None)


def test_a_preview_is_ready_once_it_has_succeeded(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    waiting = queued(database, JobType.PRESIZING_PREVIEW, dataset)

    problem(client.get(result_of(waiting)), 409, "result_not_ready")

    running = started(database, JobType.PRESIZING_PREVIEW, dataset)
    response = client.get(result_of(running))

    assert problem(response, 409, "result_not_ready")["state"] in {"queued", "running"}
    assert response.headers["retry-after"] == "2"


def test_jobs_of_other_types_have_no_preview_and_unknown_ones_do_not_exist(
    client: TestClient, database: Database, dataset: Dataset
) -> None:
    other = queued(database, JobType.FINE_TUNE, dataset)

    body = problem(client.get(result_of(other)), 404, "not_found")
    assert "is a fine_tune" in body["detail"]
    problem(client.get("/v1/jobs/job_1/presizing-preview"), 404, "not_found")


def test_its_picture_can_be_drawn_once_it_has_succeeded(
    client: TestClient, database: Database, dataset: Dataset, done: Job
) -> None:
    a_drawer(database)
    waiting = queued(database, JobType.PRESIZING_PREVIEW, dataset)
    at_once = {"Prefer": "wait=0"}

    early = client.get(f"/v1/jobs/{waiting.id}/plots/presizing-preview.png", headers=at_once)
    drawing = client.get(f"/v1/jobs/{done.id}/plots/presizing-preview.png", headers=at_once)

    problem(early, 409, "result_not_ready")
    assert drawing.status_code == 202
    assert drawing.json()["hyperparameters"]["plot"] == "presizing-preview"


def test_another_owners_preview_does_not_exist(
    locked: TestClient, database: Database, dataset: Dataset, done: Job
) -> None:
    given_to(database, "ana")
    reads = bearer(database, Scope.READ)
    strangers = bearer(database, Scope.READ, Scope.JOBS_WRITE, owner="bob")

    assert locked.get(result_of(done), headers=reads).status_code == 200
    problem(locked.get(result_of(done), headers=strangers), 404, "not_found")
    problem(
        locked.post(PATH, json={"dataset": dataset.id}, headers=strangers),
        422,
        "validation_failed",
        "/dataset",
    )
    problem(locked.post(PATH, json={"dataset": dataset.id}, headers=reads), 403, "forbidden")
