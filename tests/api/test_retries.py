"""Finished jobs done again over HTTP: changes, what is gone, whose it is, training on."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import datasets, leases, models, store, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.datasets import Dataset
from jobs.job import Job, JobState, JobType
from jobs.keys import Scope
from tests.api.given import (
    LABELS,
    a_model,
    bearer,
    field,
    get,
    problem,
    queued,
    ready_dataset,
    started,
)
from tests.jobs.given import FAILURE, a_dataset, claimed

SAMPLE = {
    "name": "cats",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
}
FOUND = {"learning_rate": {"value": 0.004, "origin": "lr_find", "job_id": "job_1"}}


def failed(database: Database, job_type: JobType, dataset: Dataset, **spec: object) -> Job:
    """A job that has failed."""
    job = queued(database, job_type, dataset, spec)
    held = claimed(database)
    leases.fail(database, job.id, held.fence, FAILURE)
    return store.get(database, job.id)


def trained(
    database: Database, artifacts: Artifacts, dataset: Dataset, **spec: object
) -> tuple[Job, str]:
    """A fine-tune that has succeeded, and its model."""
    job = queued(database, JobType.FINE_TUNE, dataset, {"architecture": "resnet18", **spec})
    held = claimed(database)
    model = a_model(database, artifacts, dataset, job_id=job.id)
    leases.succeed(database, job.id, held.fence, values={"model_id": model.id, "resolved": FOUND})
    return store.get(database, job.id), model.id


def retry(client: TestClient, job: Job, **body: object) -> Any:  # noqa: ANN401
    return client.post(f"/v1/jobs/{job.id}/retry", json=body)


def accepted(client: TestClient, job: Job, **body: object) -> dict[str, Any]:
    """The job that does this one again."""
    response = retry(client, job, **body)
    assert response.status_code == 202, response.text
    shown: dict[str, Any] = response.json()
    return shown


def test_a_retry_is_a_new_job_that_names_the_first(client: TestClient, database: Database) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database), epochs=7, name="first")

    response = client.post(f"/v1/jobs/{job.id}/retry")

    again = response.json()
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/jobs/{again['id']}"
    assert response.headers["retry-after"] == "2"
    assert again["retry_of"] == job.id
    assert again["links"]["retry_of"] == f"/v1/jobs/{job.id}"
    assert again["hyperparameters"] == job.spec
    assert (again["state"], again["name"], again["attempt"]) == ("queued", "first", 0)
    assert get(client, f"/v1/jobs/{again['id']}") == again
    assert [each["id"] for each in get(client, f"/v1/jobs?retry_of={job.id}")["data"]] == [
        again["id"]
    ]


def test_a_retry_can_run_with_other_values_on_another_dataset(
    client: TestClient, database: Database
) -> None:
    job = failed(database, JobType.LR_FIND, ready_dataset(database), num_steps=50, batch_size=8)
    other = ready_dataset(database)

    again = accepted(
        client,
        job,
        dataset=other.id,
        overrides={"num_steps": None, "seed": 5, "augment": {"flip": False}, "priority": 9},
    )

    asked = again["hyperparameters"]
    assert (again["dataset_id"], again["priority"]) == (other.id, 9)
    assert (asked["dataset"], asked["num_steps"], asked["seed"]) == (other.id, 100, 5)
    assert asked["batch_size"] == 8
    assert asked["augment"] == {**job.spec["augment"], "flip": False}


def test_one_key_makes_one_retry_and_without_a_key_each_call_makes_one(
    client: TestClient, database: Database
) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database))
    path, key = f"/v1/jobs/{job.id}/retry", {"Idempotency-Key": "k1"}

    first, second = (client.post(path, json={}, headers=key) for _ in range(2))
    third = client.post(path, json={})
    other = client.post(path, json={"overrides": {"seed": 1}}, headers=key)

    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"
    assert third.json()["id"] != first.json()["id"]
    problem(other, 422, "idempotency_key_reused")


def test_a_replayed_retry_needs_the_first_job_no_more(
    client: TestClient, database: Database
) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database))
    path, key = f"/v1/jobs/{job.id}/retry", {"Idempotency-Key": "k1"}
    first = client.post(path, json={}, headers=key)
    store.delete_job(database, job.id)

    assert client.post(path, json={}, headers=key).content == first.content
    problem(client.post(path, json={}), 404, "not_found")


@pytest.mark.parametrize(
    ("overrides", "pointer", "code"),
    [
        ({"learning_rat": 0.1}, "/overrides/learning_rat", "unknown_field"),
        ({"learning_rat": None}, "/overrides/learning_rat", "unknown_field"),
        ({"augment": {"flipp": True}}, "/overrides/augment/flipp", "unknown_field"),
        ({"batch_size": 1}, "/overrides/batch_size", "out_of_range"),
        ({"presize": 64}, "/overrides/presize", "invalid"),
        ({"dataset": None}, "/overrides/dataset", "required"),
        ({"architecture": "resnet43"}, "/overrides/architecture", "unknown_architecture"),
        ({"weights": {"from_job": "job_0"}}, "/overrides/weights/from_job", "not_found"),
        ({"class_weights": {"emu": 2}}, "/overrides/class_weights/emu", "not_allowed"),
        ({"dataset": "ds_nobody"}, "/overrides/dataset", "not_found"),
    ],
)
def test_an_override_is_checked_as_in_a_new_request_at_its_place(
    client: TestClient, database: Database, overrides: dict[str, Any], pointer: str, code: str
) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database))

    response = retry(client, job, overrides=overrides)

    body = response.json()
    assert response.status_code == 422, body
    assert [(error["pointer"], error["code"]) for error in body["errors"]] == [(pointer, code)]
    if code == "unknown_field":
        assert field(body, pointer)["did_you_mean"]


def test_a_field_that_the_first_job_gave_can_be_in_the_way_of_an_override(
    client: TestClient, database: Database
) -> None:
    job = failed(
        database, JobType.FINE_TUNE, ready_dataset(database), discriminative={"lr_mult": 10}
    )
    rates = {"learning_rate": {"per_group": [1e-5, 1e-4, 1e-3]}}

    problem(
        retry(client, job, overrides=rates), 422, "validation_failed", "/overrides/discriminative"
    )

    accepted(client, job, overrides={**rates, "discriminative": None})


@pytest.mark.parametrize("body", [None, b"", b"{}"])
def test_nothing_need_be_said(client: TestClient, database: Database, body: bytes | None) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database))
    headers = {"Content-Type": "application/json"}

    response = client.post(f"/v1/jobs/{job.id}/retry", content=body, headers=headers)

    assert response.status_code == 202, response.text


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"overides": {}}, "/overides"),
        ({"dataset": "mdl_1"}, "/dataset"),
        ({"continue_epochs": 0}, "/continue_epochs"),
        ({"overrides": []}, "/overrides"),
        ({"dataset": "ds_1", "overrides": {"dataset": "ds_2"}}, "/overrides/dataset"),
    ],
)
def test_a_request_that_means_nothing_is_refused(
    client: TestClient, database: Database, body: dict[str, Any], pointer: str
) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database))

    problem(retry(client, job, **body), 422, "validation_failed", pointer)


def test_a_dataset_that_is_gone_is_missed_where_another_can_be_named(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)
    job = failed(database, JobType.FINE_TUNE, dataset)
    datasets.delete_dataset(database, dataset.id)

    refused = problem(retry(client, job), 422, "validation_failed", "/dataset")

    assert f"no dataset has the id '{dataset.id}'" in refused["detail"]
    accepted(client, job, dataset=ready_dataset(database).id)


def test_a_dataset_that_is_not_ready_is_told_apart(client: TestClient, database: Database) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database))

    problem(retry(client, job, dataset=a_dataset(database).id), 409, "dataset_not_ready")


def test_a_find_that_is_gone_is_missed(client: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    find = failed(database, JobType.LR_FIND, dataset)
    job = failed(database, JobType.FINE_TUNE, dataset, learning_rate={"from_job": find.id})
    pointer = "/overrides/learning_rate/from_job"
    refused = problem(retry(client, job), 422, "validation_failed", pointer)
    assert "is failed; name one that has succeeded" in refused["detail"]

    store.delete_job(database, find.id)

    refused = problem(retry(client, job), 422, "validation_failed", pointer)
    assert f"no job has the id '{find.id}'" in refused["detail"]
    accepted(client, job, overrides={"learning_rate": None})


def test_a_job_whose_inline_dataset_failed_makes_it_again(
    client: TestClient, database: Database
) -> None:
    made = client.post("/v1/fine-tunes", json={"dataset": SAMPLE}).json()
    held = claimed(database, "prepare")
    leases.fail(database, held.id, held.fence, FAILURE)

    again = accepted(client, store.get(database, made["id"]))

    assert again["dataset_id"] != made["dataset_id"]
    assert get(client, f"/v1/datasets/{again['dataset_id']}")["state"] == "importing"
    assert again["hyperparameters"]["dataset"]["name"] == "cats"


def test_a_job_whose_inline_dataset_became_ready_runs_on_it_again(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)
    inline = queued(database, JobType.FINE_TUNE, dataset, {"dataset": dataset.spec})
    verbs.cancel(database, inline.id)

    again = accepted(client, inline)

    assert again["hyperparameters"]["dataset"] == again["dataset_id"] == dataset.id


def test_a_failed_import_makes_another_dataset_with_another_rule(
    client: TestClient, database: Database
) -> None:
    first = client.post("/v1/datasets", json=SAMPLE).json()
    client.post(f"/v1/jobs/{first['job_id']}/cancel")
    job = store.get(database, first["job_id"])
    labels = {"rule": "regex", "pattern": r"^(.+_.+)_\d+\.jpg$"}

    again = accepted(client, job, overrides={"labels": labels})

    dataset = get(client, f"/v1/datasets/{again['dataset_id']}")
    assert (again["type"], again["retry_of"]) == ("dataset_import", job.id)
    assert (dataset["state"], dataset["job_id"]) == ("importing", again["id"])
    assert dataset["id"] != first["id"]
    assert datasets.get(database, dataset["id"]).spec["labels"]["pattern"] == labels["pattern"]


def test_an_import_is_done_again_as_a_dataset_is_registered(
    client: TestClient, database: Database
) -> None:
    first = client.post("/v1/datasets", json=SAMPLE).json()
    client.post(f"/v1/jobs/{first['job_id']}/cancel")
    job = store.get(database, first["job_id"])

    for body, code, pointer in (
        ({"dataset": "ds_1"}, "validation_failed", "/dataset"),
        ({"continue_epochs": 1}, "validation_failed", "/continue_epochs"),
        ({"overrides": {"label": {}}}, "validation_failed", "/overrides/label"),
        (
            {"overrides": {"labels": {"rule": "regex", "pattern": "^(x)"}}},
            "labels_unmatched",
            "/overrides/labels/pattern",
        ),
    ):
        problem(retry(client, job, **body), 422, code, pointer)


def test_a_dataset_that_is_ready_is_not_imported_again(
    client: TestClient, database: Database
) -> None:
    job = store.get(database, ready_dataset(database).job_id)

    body = problem(retry(client, job), 409, "invalid_state_transition")

    assert (body["state"], body["allowed_actions"]) == ("succeeded", [])


def test_an_evaluation_is_done_again_of_another_part(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    model = a_model(database, artifacts, dataset)
    job = failed(database, JobType.EVALUATION, dataset, model=model.id)

    again = accepted(client, job, overrides={"split": "train"})

    assert again["hyperparameters"]["split"] == "train"
    assert again["hyperparameters"]["model"] == model.id


def test_a_preview_is_done_again_at_another_size(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.PRESIZING_PREVIEW, ready_dataset(database))
    verbs.cancel(database, job.id)

    again = accepted(client, job, overrides={"size": 128})

    assert (again["type"], again["hyperparameters"]["size"]) == ("presizing_preview", 128)


def test_another_owner_s_job_does_not_exist(locked: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    job = failed(database, JobType.FINE_TUNE, dataset)
    bob = bearer(database, Scope.JOBS_WRITE, Scope.DATASETS_WRITE, owner="bob")

    problem(locked.post(f"/v1/jobs/{job.id}/retry", json={}, headers=bob), 404, "not_found")


def test_a_retry_needs_the_right_to_make_jobs_and_an_import_that_to_make_datasets(
    locked: TestClient, database: Database
) -> None:
    job = failed(database, JobType.FINE_TUNE, ready_dataset(database))
    cancelled = a_dataset(database)
    verbs.cancel(database, cancelled.job_id)
    reader = bearer(database, Scope.READ, owner="local")
    trainer = bearer(database, Scope.JOBS_WRITE, owner="local")

    def answer(job_id: str, key: dict[str, str]) -> Any:  # noqa: ANN401
        return locked.post(f"/v1/jobs/{job_id}/retry", json={}, headers=key)

    assert problem(answer(job.id, reader), 403, "forbidden")["scope"] == "jobs:write"
    refused = problem(answer(cancelled.job_id, trainer), 403, "forbidden")
    assert refused["scope"] == "datasets:write"
    assert answer(job.id, trainer).status_code == 202


def test_training_on_begins_with_the_kept_model(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    spec = {"learning_rate": "auto", "epochs": 6, "freeze_epochs": 3, "discriminative": "off"}
    job, _ = trained(database, artifacts, dataset, **spec)

    again = accepted(client, job, continue_epochs=4)

    asked = again["hyperparameters"]
    assert asked["weights"] == {"from_job": job.id}
    assert (asked["epochs"], asked["freeze_epochs"]) == (4, 0)
    assert asked["learning_rate"] == 0.004
    assert (asked["discriminative"], asked["seed"]) == ("off", job.spec["seed"] + 1)
    assert (again["retry_of"], again["depends_on"]) == (job.id, [job.id])


def test_training_on_takes_other_values_that_do_not_contradict_it(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job, _ = trained(database, artifacts, ready_dataset(database))
    other = ready_dataset(database)

    again = accepted(
        client,
        job,
        continue_epochs=2,
        dataset=other.id,
        overrides={"learning_rate": 1e-4, "size": 256, "seed": 9},
    )

    asked = again["hyperparameters"]
    assert (asked["dataset"], asked["learning_rate"]) == (other.id, 1e-4)
    assert (asked["size"], asked["seed"]) == (256, 9)


@pytest.mark.parametrize(
    "overrides",
    [
        {"epochs": 3},
        {"freeze_epochs": 0},
        {"weights": "DEFAULT"},
        {"architecture": "resnet34"},
        {"dataset": SAMPLE},
    ],
)
def test_training_on_excludes_what_contradicts_it(
    client: TestClient, database: Database, artifacts: Artifacts, overrides: dict[str, Any]
) -> None:
    job, _ = trained(database, artifacts, ready_dataset(database))
    (name,) = overrides

    body = problem(
        retry(client, job, continue_epochs=1, overrides=overrides),
        422,
        "validation_failed",
        f"/overrides/{name}",
    )

    assert field(body, f"/overrides/{name}")["code"] == "not_allowed"


def test_training_on_needs_the_classes_of_the_model(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job, model_id = trained(database, artifacts, ready_dataset(database))
    other = ready_dataset(database, labels=(*LABELS, "emu"))

    body = problem(
        retry(client, job, continue_epochs=1, dataset=other.id), 422, "labels_mismatch", "/dataset"
    )

    assert "has the classes 'cat', 'dog', 'emu'" in body["detail"]
    assert f"those of model {model_id}, 'cat', 'dog'" in body["detail"]


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.CANCELLED])
def test_a_job_that_has_kept_no_model_cannot_be_trained_on(
    client: TestClient, database: Database, state: JobState
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    if state == JobState.FAILED:
        leases.fail(database, job.id, job.fence, FAILURE)
    else:
        verbs.cancel(database, job.id)
        leases.release(database, job.id, job.fence)

    body = problem(
        retry(client, job, continue_epochs=1), 422, "validation_failed", "/continue_epochs"
    )

    assert f"is {state} and has kept no model" in body["detail"]


def test_only_a_fine_tune_can_be_trained_on(client: TestClient, database: Database) -> None:
    job = failed(database, JobType.LR_FIND, ready_dataset(database))

    body = problem(
        retry(client, job, continue_epochs=1), 422, "validation_failed", "/continue_epochs"
    )

    assert "a lr_find does not train" in body["detail"]


def test_a_model_names_the_one_that_it_began_with(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    first = a_model(database, artifacts, dataset)
    second = a_model(database, artifacts, dataset, card={"parent_id": first.id})

    assert get(client, f"/v1/models/{first.id}")["parent_id"] is None
    shown = get(client, f"/v1/models/{second.id}")
    assert shown["parent_id"] == first.id
    assert shown["links"]["parent"] == f"/v1/models/{first.id}"
    assert models.get(database, second.id).card["parent_id"] == first.id
