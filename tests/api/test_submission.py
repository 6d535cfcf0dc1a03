from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import leases, store
from jobs.artifacts import Artifacts
from jobs.back_off import BackOff
from jobs.database import Database
from jobs.job import Failure, JobType
from tests.api.given import a_model, field, get, problem, queued, ready_dataset, succeeded
from tests.jobs.given import DATASET, LEASE_MS, a_dataset

TRAINING = ("/v1/lr-finds", "/v1/fine-tunes")
ANSWER = {"lr": 0.002, "marker": None, "step": 5}
CURVE = {
    "lrs": [1e-4, 1e-3],
    "losses": [2.0, None],
    "smoothed": [2.0, None],
    "zero_lag": [2.0, None],
    "stopped": "diverged",
    "diverged_at_step": 1,
    "suggestions": {"valley": ANSWER, "slide": None},
    "recommended": {
        "lr": 0.002,
        "rule": "consensus",
        "range": [0.001, 0.004],
        "confidence": "medium",
        "reasons": ["rules_agree"],
    },
    "warnings": [{"code": "slide_unavailable", "detail": "2 usable points, 16 needed"}],
}


@pytest.mark.parametrize("path", TRAINING)
def test_a_training_is_queued_and_shown_at_once(
    client: TestClient, database: Database, path: str
) -> None:
    dataset = ready_dataset(database)

    response = client.post(path, json={"dataset": dataset.id, "metadata": {"owner": "ana"}})

    job = response.json()
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/v1/jobs/{job['id']}"
    assert response.headers["retry-after"] == "2"
    assert (job["state"], job["is_terminal"]) == ("queued", False)
    assert job["queue"] == {"position": 1, "waiting_for": ["worker"]}
    assert job["hyperparameters"]["batch_size"] == 64
    assert get(client, f"/v1/jobs/{job['id']}") == job


def test_an_evaluation_is_queued(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    model = a_model(database, artifacts, dataset)

    response = client.post("/v1/evaluations", json={"model": model.id, "dataset": dataset.id})

    assert response.status_code == 202, response.text
    assert response.json()["type"] == "evaluation"


def test_jobs_line_up_behind_those_of_higher_priority(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)
    body = {"dataset": dataset.id}

    first = client.post("/v1/lr-finds", json=body).json()
    urgent = client.post("/v1/fine-tunes", json={**body, "priority": 9}).json()

    assert urgent["queue"]["position"] == 1
    assert get(client, f"/v1/jobs/{first['id']}")["queue"]["position"] == 2


@pytest.mark.parametrize("path", TRAINING)
def test_an_unknown_architecture_is_refused_with_the_nearest(
    client: TestClient, database: Database, path: str
) -> None:
    body = {"dataset": ready_dataset(database).id, "architecture": "resnet43"}

    refused = problem(client.post(path, json=body), 422, "unknown_architecture", "/architecture")

    assert "'resnet43'" in refused["detail"]
    assert "resnet34" in field(refused, "/architecture")["did_you_mean"]


def test_unknown_weights_are_refused_with_those_there_are(
    client: TestClient, database: Database
) -> None:
    body = {"dataset": ready_dataset(database).id, "weights": "IMAGENET1K_V7"}

    refused = problem(
        client.post("/v1/fine-tunes", json=body), 422, "weights_unavailable", "/weights"
    )

    assert "resnet34 has no weights named 'IMAGENET1K_V7'" in refused["detail"]
    assert field(refused, "/weights")["allowed"] == ["DEFAULT", "none", "IMAGENET1K_V1"]


def test_a_weights_file_outside_the_roots_is_refused(
    client: TestClient, database: Database
) -> None:
    body = {"dataset": ready_dataset(database).id, "weights": {"path": "/etc/passwd"}}

    refused = problem(
        client.post("/v1/fine-tunes", json=body), 422, "source_forbidden", "/weights/path"
    )

    assert "'/etc/passwd'" in refused["detail"]


def test_a_weights_file_that_is_missing_is_refused(
    client: TestClient, database: Database, photos: Path
) -> None:
    dataset = ready_dataset(database)
    for path in (photos / "none.pth", photos):
        body = {"dataset": dataset.id, "weights": {"path": str(path)}}

        refused = problem(
            client.post("/v1/fine-tunes", json=body), 422, "weights_unavailable", "/weights/path"
        )

        assert str(path) in refused["detail"]


def test_a_weights_file_inside_the_roots_is_accepted(
    client: TestClient, database: Database, photos: Path
) -> None:
    (photos / "weights.safetensors").touch()
    body = {
        "dataset": ready_dataset(database).id,
        "weights": {"path": str(photos / "weights.safetensors")},
    }

    assert client.post("/v1/fine-tunes", json=body).status_code == 202


def test_a_size_below_the_architecture_s_smallest_is_refused(
    client: TestClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    from ml.theory import architectures

    demanding = replace(architectures.get("resnet34"), smallest_image_px=96)
    monkeypatch.setattr("api.admission.architectures.get", lambda _: demanding)
    body = {"dataset": ready_dataset(database).id, "size": 64}

    refused = problem(client.post("/v1/lr-finds", json=body), 422, "validation_failed", "/size")

    assert "size 64 is too small for resnet34, which needs at least 96 px" in refused["detail"]


@pytest.mark.parametrize(("size", "off"), [(192, "small"), (256, "large")])
def test_a_network_of_one_size_takes_no_other(
    client: TestClient, database: Database, size: int, off: str
) -> None:
    body = {"dataset": ready_dataset(database).id, "architecture": "vit_b_16", "size": size}

    refused = problem(client.post("/v1/lr-finds", json=body), 422, "validation_failed", "/size")

    detail = f"size {size} is too {off} for vit_b_16, which needs exactly 224 px"
    assert detail in refused["detail"]
    assert client.post("/v1/lr-finds", json={**body, "size": 224}).status_code == 202


@pytest.mark.parametrize("path", TRAINING)
def test_an_unknown_dataset_is_refused(client: TestClient, path: str) -> None:
    refused = problem(
        client.post(path, json={"dataset": "ds_nobody"}), 422, "validation_failed", "/dataset"
    )

    assert field(refused, "/dataset")["code"] == "not_found"
    assert "'ds_nobody'" in refused["detail"]


def test_a_dataset_that_is_importing_can_be_asked_for_again_soon(
    client: TestClient, database: Database
) -> None:
    dataset = a_dataset(database)

    response = client.post("/v1/lr-finds", json={"dataset": dataset.id})

    body = problem(response, 409, "dataset_not_ready")
    assert response.headers["retry-after"] == "2"
    assert body["state"] == "importing"


def test_a_dataset_that_failed_will_never_be_ready(client: TestClient, database: Database) -> None:
    dataset = a_dataset(database)
    client.post(f"/v1/jobs/{dataset.job_id}/cancel")

    response = client.post("/v1/lr-finds", json={"dataset": dataset.id})

    problem(response, 409, "dataset_not_ready")
    assert "retry-after" not in response.headers


def test_a_dataset_with_one_training_photo_is_refused(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database, train=1)

    refused = problem(
        client.post("/v1/lr-finds", json={"dataset": dataset.id}),
        422,
        "too_few_images",
        "/dataset",
    )

    assert "1 train" in refused["detail"]


def tune(client: TestClient, dataset_id: str, rate: object) -> Any:  # noqa: ANN401
    return client.post("/v1/fine-tunes", json={"dataset": dataset_id, "learning_rate": rate})


@pytest.mark.parametrize("rule", ["recommended", "valley"])
def test_a_rate_can_come_from_a_finished_find(
    client: TestClient, database: Database, rule: str
) -> None:
    dataset = ready_dataset(database)
    find = succeeded(database, JobType.LR_FIND, dataset, {"lr_curve": CURVE})

    response = tune(client, dataset.id, {"from_job": find.id, "rule": rule})

    assert response.status_code == 202, response.text


def test_a_rule_that_found_nothing_is_refused_with_those_that_did(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)
    find = succeeded(database, JobType.LR_FIND, dataset, {"lr_curve": CURVE})

    refused = problem(
        tune(client, dataset.id, {"from_job": find.id, "rule": "slide"}),
        422,
        "validation_failed",
        "/learning_rate/rule",
    )

    assert "'slide' found no rate" in refused["detail"]
    assert field(refused, "/learning_rate/rule")["allowed"] == ["recommended", "valley"]


def test_a_rate_from_a_find_that_runs_is_waited_for(client: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    find = queued(database, JobType.LR_FIND, dataset)

    job = tune(client, dataset.id, {"from_job": find.id}).json()

    assert job["depends_on"] == [find.id]
    assert job["queue"] == {"position": 2, "waiting_for": ["dependency"]}
    leases.claim_next(database, "train", "worker-1", lease_ms=LEASE_MS)
    leases.succeed(database, find.id, 1, values={"result": {"lr_curve": CURVE}})
    assert get(client, f"/v1/jobs/{job['id']}")["queue"] == {
        "position": 1,
        "waiting_for": ["worker"],
    }


def test_a_job_that_its_machine_failed_says_that_it_waits_for_a_pause(
    client: TestClient, database: Database
) -> None:
    job_id = tune(client, ready_dataset(database).id, 0.01).json()["id"]
    claimed = leases.claim_next(database, "train", "worker-1", lease_ms=LEASE_MS)
    assert claimed is not None
    failure = Failure(code="io_error", message="pixels: Input/output error")

    leases.put_off(database, job_id, claimed.fence, failure, BackOff(io_pause_s=600))

    assert get(client, f"/v1/jobs/{job_id}")["queue"] == {
        "position": 1,
        "waiting_for": ["back_off"],
    }


def test_one_post_starts_from_nothing(client: TestClient, database: Database) -> None:
    labels = {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"}
    dataset = {**DATASET.model_dump(mode="json"), "labels": labels}
    body = {"dataset": dataset, "learning_rate": "auto"}

    job = client.post("/v1/fine-tunes", json=body).json()

    importing, find = (get(client, f"/v1/jobs/{job_id}") for job_id in job["depends_on"])
    assert (importing["type"], importing["queue"]["waiting_for"]) == ("dataset_import", ["worker"])
    assert (find["type"], find["depends_on"]) == ("lr_find", [importing["id"]])
    assert find["links"]["parent"] == job["links"]["self"]
    assert job["hyperparameters"]["learning_rate"] == "auto"
    assert get(client, f"/v1/datasets/{job['dataset_id']}")["state"] == "importing"


def test_an_inline_dataset_is_refused_as_on_its_own_at_its_place(
    client: TestClient, database: Database
) -> None:
    dataset = {
        "name": "cats",
        "source": {"type": "sample"},
        "labels": {"rule": "regex", "pattern": "^(.+)_x\\.jpg$"},
    }

    alone = problem(client.post("/v1/datasets", json=dataset), 422, "labels_unmatched")
    inline = problem(
        client.post("/v1/fine-tunes", json={"dataset": dataset}),
        422,
        "labels_unmatched",
        "/dataset/labels/pattern",
    )

    assert inline["detail"] == alone["detail"]
    assert store.list_jobs(database, store.JobFilter(), after=None, limit=5) == []


def test_a_misspelt_field_of_an_inline_dataset_is_named(client: TestClient) -> None:
    body = {"dataset": {"name": "cats", "sauce": {"type": "sample"}}}

    refused = problem(
        client.post("/v1/fine-tunes", json=body), 422, "validation_failed", "/dataset/sauce"
    )

    assert field(refused, "/dataset/sauce")["did_you_mean"] == ["source"]


def test_weights_come_from_a_fine_tune_of_the_same_architecture_only(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)
    find = queued(database, JobType.LR_FIND, dataset)
    other = queued(database, JobType.FINE_TUNE, dataset, {"architecture": "resnet18"})

    for job_id, code, reason in (
        ("job_nobody", "validation_failed", "no job has the id 'job_nobody'"),
        (find.id, "validation_failed", "is a lr_find; weights can come from a fine_tune only"),
        (other.id, "weights_unavailable", "trains resnet18, which is not resnet34"),
    ):
        body = {"dataset": dataset.id, "weights": {"from_job": job_id}}
        refused = problem(client.post("/v1/lr-finds", json=body), 422, code, "/weights/from_job")
        assert reason in refused["detail"]


def test_weights_come_from_a_model_of_the_same_architecture_by_its_id_or_alias(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    model = a_model(database, artifacts, dataset)
    client.patch(f"/v1/models/{model.id}", json={"aliases": ["best"]})

    for path in ("/v1/fine-tunes", "/v1/lr-finds"):
        body = {"dataset": dataset.id, "architecture": model.architecture}
        made = client.post(path, json={**body, "weights": {"model": "best"}})
        assert made.status_code == 202, made.text
        assert made.json()["hyperparameters"]["weights"] == {"model": model.id}
        assert made.json()["depends_on"] == []

    for architecture, name, code, reason in (
        (model.architecture, "nobody", "validation_failed", "no model has the id 'nobody'"),
        ("vgg11", model.id, "weights_unavailable", f"{model.architecture}, which is not vgg11"),
    ):
        wrong = {"dataset": dataset.id, "architecture": architecture, "weights": {"model": name}}
        refused = problem(client.post("/v1/fine-tunes", json=wrong), 422, code, "/weights/model")
        assert reason in refused["detail"]


def test_a_dependency_that_cannot_succeed_is_refused_at_its_place(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)
    first, cancelled = (queued(database, JobType.LR_FIND, dataset) for _ in range(2))
    client.post(f"/v1/jobs/{cancelled.id}/cancel")

    refused = problem(
        client.post(
            "/v1/lr-finds", json={"dataset": dataset.id, "depends_on": [first.id, cancelled.id]}
        ),
        422,
        "validation_failed",
        "/depends_on/1",
    )

    assert "is cancelled; name one that has succeeded or still may" in refused["detail"]


def test_who_waited_in_vain_says_for_whom(client: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    find = queued(database, JobType.LR_FIND, dataset)
    job = tune(client, dataset.id, {"from_job": find.id}).json()

    client.post(f"/v1/jobs/{find.id}/cancel")

    error = get(client, f"/v1/jobs/{job['id']}")["error"]
    assert error["code"] == "dependency_failed"
    assert error["cause"] == {
        "job_id": find.id,
        "code": "cancelled",
        "message": "the job was cancelled",
    }


def test_a_rate_from_nowhere_is_refused(client: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    other = queued(database, JobType.FINE_TUNE, dataset)
    cancelled = queued(database, JobType.LR_FIND, dataset)
    client.post(f"/v1/jobs/{cancelled.id}/cancel")

    for job_id, reason in (
        ("job_nobody", "no job has the id 'job_nobody'"),
        (other.id, "is a fine_tune"),
        (cancelled.id, "is cancelled"),
    ):
        refused = problem(
            tune(client, dataset.id, {"from_job": job_id}),
            422,
            "validation_failed",
            "/learning_rate/from_job",
        )
        assert reason in refused["detail"]


def test_rates_for_another_number_of_groups_are_refused(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)

    refused = problem(
        tune(client, dataset.id, {"per_group": [1e-4, 1e-3]}),
        422,
        "validation_failed",
        "/learning_rate/per_group",
    )

    assert "2 rates for the 3 layer groups of resnet34" in refused["detail"]
    assert tune(client, dataset.id, {"per_group": [1e-5, 1e-4, 1e-3]}).status_code == 202


def test_an_unknown_model_is_refused(client: TestClient, database: Database) -> None:
    body = {"model": "mdl_nobody", "dataset": ready_dataset(database).id}

    refused = problem(client.post("/v1/evaluations", json=body), 422, "validation_failed", "/model")

    assert "'mdl_nobody'" in refused["detail"]


def test_a_part_without_photos_is_refused(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    model = a_model(database, artifacts, dataset)
    body = {"model": model.id, "dataset": dataset.id, "split": "test"}

    refused = problem(client.post("/v1/evaluations", json=body), 422, "too_few_images", "/split")

    assert "8 train, 3 valid, 0 test" in refused["detail"]


def test_equal_requests_with_one_key_make_one_job(client: TestClient, database: Database) -> None:
    body = {"dataset": ready_dataset(database).id}
    key = {"Idempotency-Key": "k1"}

    first = client.post("/v1/lr-finds", json=body, headers=key)
    second = client.post("/v1/lr-finds", json=body, headers=key)

    assert first.content == second.content
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.headers["location"] == first.headers["location"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    finds = store.list_jobs(database, store.JobFilter(type=JobType.LR_FIND), after=None, limit=5)
    assert len(finds) == 1


def test_a_key_sent_with_another_body_is_refused(client: TestClient, database: Database) -> None:
    body = {"dataset": ready_dataset(database).id}
    key = {"Idempotency-Key": "k1"}
    client.post("/v1/lr-finds", json=body, headers=key)

    response = client.post("/v1/lr-finds", json={**body, "seed": 1}, headers=key)

    refused = problem(response, 422, "idempotency_key_reused")
    assert "'k1'" in refused["detail"]


def test_a_key_counts_for_one_path_only(client: TestClient, database: Database) -> None:
    body = {"dataset": ready_dataset(database).id}
    key = {"Idempotency-Key": "k1"}

    find = client.post("/v1/lr-finds", json=body, headers=key)
    tuned = client.post("/v1/fine-tunes", json=body, headers=key)

    assert find.json()["id"] != tuned.json()["id"]


def test_a_refusal_is_not_kept_under_its_key(client: TestClient, database: Database) -> None:
    body = {"dataset": "ds_nobody"}
    key = {"Idempotency-Key": "k1"}
    client.post("/v1/lr-finds", json=body, headers=key)

    response = client.post(
        "/v1/lr-finds", json={"dataset": ready_dataset(database).id}, headers=key
    )

    assert response.status_code == 202


def test_a_dataset_is_made_once_for_one_key(client: TestClient) -> None:
    body = {"name": "cats", "source": {"type": "sample"}, "labels": {"rule": "regex",
            "pattern": "^(.+)_\\d+\\.jpg$"}}  # fmt: skip
    key = {"Idempotency-Key": "k1"}

    first = client.post("/v1/datasets", json=body, headers=key)
    second = client.post("/v1/datasets", json=body, headers=key)

    assert first.content == second.content
    assert len(get(client, "/v1/datasets")["data"]) == 1


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_that_cannot_be_kept_is_refused(client: TestClient, key: str) -> None:
    response = client.post(
        "/v1/lr-finds", json={"dataset": "ds_1"}, headers={"Idempotency-Key": key}
    )

    problem(response, 422, "validation_failed", "/header/idempotency-key")


@pytest.mark.parametrize(
    ("wish", "pointer"),
    [
        ({"early_stopping": {}}, "/early_stopping"),
        ({"checkpoint": {"keep_best": True}}, "/checkpoint/keep_best"),
    ],
)
def test_a_choice_among_epochs_needs_photos_for_validation(
    client: TestClient, database: Database, wish: dict[str, Any], pointer: str
) -> None:
    body = {"dataset": ready_dataset(database, valid=0).id, **wish}

    refused = problem(client.post("/v1/fine-tunes", json=body), 422, "validation_failed", pointer)

    assert "8 train, 0 valid, 0 test" in refused["detail"]


@pytest.mark.parametrize(
    ("weights", "pointer"),
    [({"a/b": 2.0}, "/class_weights/a~1b"), ({"cat": -1}, "/class_weights/cat")],
)
def test_class_weights_of_no_label_or_no_use_are_refused(
    client: TestClient, database: Database, weights: dict[str, float], pointer: str
) -> None:
    body = {"dataset": ready_dataset(database).id, "class_weights": weights}

    refused = problem(client.post("/v1/fine-tunes", json=body), 422, "validation_failed")

    assert field(refused, pointer)
