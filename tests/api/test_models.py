from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobType
from jobs.keys import Scope
from jobs.models import Model
from tests.api.given import a_model, bearer, get, problem, queued, ready_dataset, succeeded
from tests.jobs.given import set_columns

CONTENT = bytes(range(100))


@pytest.fixture
def model(database: Database, artifacts: Artifacts) -> Model:
    """A model whose file has the bytes 0 to 99."""
    return a_model(database, artifacts, ready_dataset(database))


def test_models_are_listed_and_read(client: TestClient, model: Model) -> None:
    (listed,) = get(client, f"/v1/models?dataset_id={model.dataset_id}")["data"]

    assert listed["classes"] == ["cat", "dog"]
    assert listed["created_at"] == "2023-11-14T22:13:20.000Z"
    assert get(client, f"/v1/models/{model.id}") == listed
    assert get(client, "/v1/models?dataset_id=ds_other")["data"] == []


def test_an_unknown_model_is_named(client: TestClient) -> None:
    for path in ("/v1/models/mdl_nobody", "/v1/models/mdl_nobody/download"):
        assert "'mdl_nobody'" in problem(client.get(path), 404, "not_found")["detail"]


def test_a_model_is_downloaded_with_its_digest(client: TestClient, model: Model) -> None:
    response = client.get(f"/v1/models/{model.id}/download")

    assert response.content == CONTENT
    assert response.headers["etag"] == f'"{model.digest}"'
    assert response.headers["repr-digest"].startswith("sha-256=:q6ur")
    assert f"{model.id}.safetensors" in response.headers["content-disposition"]


def test_a_part_of_a_model_is_downloaded(client: TestClient, model: Model) -> None:
    response = client.get(f"/v1/models/{model.id}/download", headers={"Range": "bytes=90-"})

    assert response.status_code == 206
    assert response.headers["content-range"] == "bytes 90-99/100"
    assert response.content == CONTENT[90:]


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=-0", "bytes=9-5", "lines=1-2", "bytes=x"])
def test_a_range_outside_the_file_is_refused(client: TestClient, model: Model, asked: str) -> None:
    response = client.get(f"/v1/models/{model.id}/download", headers={"Range": asked})

    problem(response, 416, "range_not_satisfiable")
    assert response.headers["content-range"] == "bytes */100"


def test_a_download_goes_on_only_with_the_same_file(client: TestClient, model: Model) -> None:
    path = f"/v1/models/{model.id}/download"

    same = client.get(path, headers={"Range": "bytes=90-", "If-Range": f'"{model.digest}"'})
    other = client.get(path, headers={"Range": "bytes=90-", "If-Range": '"another"'})

    assert (same.status_code, other.status_code) == (206, 200)


def test_a_model_that_is_known_is_not_sent_again(client: TestClient, model: Model) -> None:
    response = client.get(
        f"/v1/models/{model.id}/download", headers={"If-None-Match": f'"{model.digest}"'}
    )

    assert (response.status_code, response.content) == (304, b"")


def test_another_format_is_refused(client: TestClient, model: Model) -> None:
    response = client.get(f"/v1/models/{model.id}/download?format=pickle")

    problem(response, 422, "validation_failed", "/query/format")


def test_a_model_whose_file_is_gone_is_not_found(
    client: TestClient, model: Model, artifacts: Artifacts
) -> None:
    artifacts.model_file(model.id).unlink()

    body = problem(client.get(f"/v1/models/{model.id}/download"), 404, "not_found")

    assert "not in the artifact store" in body["detail"]


def test_architectures_are_listed_with_their_layer_groups(client: TestClient) -> None:
    listed = get(client, "/v1/architectures?limit=200")["data"]

    names = [architecture["name"] for architecture in listed]
    assert "resnet34" in names
    resnet = get(client, "/v1/architectures/resnet34")
    assert [group["name"] for group in resnet["layer_groups"]] == ["body_0", "body_1", "head"]
    assert resnet["layer_groups"][0]["modules"] == ["conv1", "bn1", "layer1", "layer2"]


def test_an_architecture_of_one_size_says_so(client: TestClient) -> None:
    transformer = get(client, "/v1/architectures/vit_b_16")

    assert (transformer["smallest_image_px"], transformer["fixed_image_px"]) == (224, 224)
    assert get(client, "/v1/architectures/resnet34")["fixed_image_px"] is None
    assert [group["parameters"] for group in transformer["layer_groups"]] == [
        *(43269888, 42528768),
        None,
    ]


def test_architectures_come_page_by_page(client: TestClient) -> None:
    whole = get(client, "/v1/architectures?limit=200")["data"]
    first = get(client, "/v1/architectures?limit=2")

    second = get(client, f"/v1/architectures?limit=200&after={first['next_cursor']}")

    assert [*first["data"], *second["data"]] == whole
    problem(client.get("/v1/architectures?after=x"), 422, "validation_failed", "/query/after")


def test_an_unknown_architecture_is_not_found(client: TestClient) -> None:
    body = problem(client.get("/v1/architectures/resnet43"), 404, "not_found")

    assert "resnet34" in body["detail"]


@pytest.mark.parametrize("byte_range", ["bytes={}-", "bytes=0-{}", "bytes=-{}"])
def test_a_range_of_more_digits_than_any_file_has_is_refused(
    client: TestClient, model: Model, byte_range: str
) -> None:
    headers = {"Range": byte_range.format("9" * 5000)}

    response = client.get(f"/v1/models/{model.id}/download", headers=headers)

    problem(response, 416, "range_not_satisfiable")


def test_a_model_is_deleted_with_its_file_and_its_job_keeps_the_id(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    dataset = ready_dataset(database)
    job = succeeded(database, JobType.FINE_TUNE, dataset, {})
    model = a_model(database, artifacts, dataset, job_id=job.id)
    set_columns(database, job.id, model_id=model.id)
    path = f"/v1/models/{model.id}"

    response = client.delete(path)

    assert (response.status_code, response.content) == (204, b"")
    for gone in (path, f"{path}/download"):
        problem(client.get(gone), 404, "not_found")
    problem(client.delete(path), 404, "not_found")
    assert not artifacts.model_file(model.id).exists()
    shown = get(client, f"/v1/jobs/{job.id}")
    assert (shown["model_id"], shown["links"]["model"]) == (model.id, path)


@pytest.mark.parametrize("job_type", [JobType.EVALUATION, JobType.FINE_TUNE, JobType.LR_FIND])
def test_a_model_that_a_job_needs_is_deleted_once_the_job_has_ended(
    client: TestClient, database: Database, artifacts: Artifacts, job_type: JobType
) -> None:
    dataset = ready_dataset(database)
    maker = succeeded(database, JobType.FINE_TUNE, dataset, {})
    model = a_model(database, artifacts, dataset, job_id=maker.id)
    evaluates = job_type == JobType.EVALUATION
    spec = {"model": model.id} if evaluates else {"weights": {"from_job": maker.id}}
    user = queued(database, job_type, dataset, spec)

    body = problem(client.delete(f"/v1/models/{model.id}"), 409, "model_in_use")

    assert user.id in body["detail"]
    assert artifacts.model_file(model.id).exists()
    client.post(f"/v1/jobs/{user.id}/cancel")
    assert client.delete(f"/v1/models/{model.id}").status_code == 204


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/evaluations", "/model"),
        ("/v1/fine-tunes", "/weights/from_job"),
        ("/v1/lr-finds", "/weights/model"),
    ],
)
def test_nothing_begins_with_a_model_that_was_deleted(
    client: TestClient, database: Database, artifacts: Artifacts, path: str, pointer: str
) -> None:
    dataset = ready_dataset(database)
    maker = succeeded(database, JobType.FINE_TUNE, dataset, {})
    model = a_model(database, artifacts, dataset, job_id=maker.id)
    set_columns(database, maker.id, model_id=model.id)
    client.delete(f"/v1/models/{model.id}")
    begin: dict[str, dict[str, Any]] = {
        "/v1/evaluations": {"model": model.id},
        "/v1/lr-finds": {"weights": {"model": model.id}},
    }
    body = {"dataset": dataset.id, **begin.get(path, {"weights": {"from_job": maker.id}})}

    refused = problem(client.post(path, json=body), 422, "validation_failed", pointer)

    assert model.id in refused["detail"]


def test_the_model_of_another_owner_is_not_deleted(
    locked: TestClient, database: Database, artifacts: Artifacts
) -> None:
    model = a_model(database, artifacts, ready_dataset(database))

    refused = locked.delete(
        f"/v1/models/{model.id}", headers=bearer(database, Scope.JOBS_WRITE, owner="ben")
    )

    problem(refused, 404, "not_found")
    assert artifacts.model_file(model.id).exists()


# --- cards, names and aliases ---------------------------------------------------------------


def test_a_card_says_how_a_photo_becomes_an_input(client: TestClient, model: Model) -> None:
    shown = get(client, f"/v1/models/{model.id}")

    wanted = shown["card"]["preprocessing"]
    assert (wanted["mode"], wanted["orientation"]) == ("single", "exif")
    assert (wanted["presize"], wanted["size"]) == (460, 224)
    assert wanted["mean"] == [0.485, 0.456, 0.406]
    assert [step.split(" ")[0] for step in wanted["steps"]] == [
        *("decode", "where", "resize", "values", "subtract")
    ]
    # made before cards knew more
    assert (shown["card"]["hyperparameters"], shown["aliases"]) == (None, [])


def test_a_model_is_renamed_and_found_by_its_name(client: TestClient, model: Model) -> None:
    edit = {"name": "pets", "metadata": {"stage": "try"}}

    edited = client.patch(f"/v1/models/{model.id}", json=edit).json()

    assert (edited["name"], edited["metadata"], edited["version"]) == ("pets", {"stage": "try"}, 2)
    assert [m["id"] for m in get(client, "/v1/models?name=pets")["data"]] == [model.id]
    assert get(client, "/v1/models?name=cars")["data"] == []


def test_an_alias_stands_where_an_id_does(
    client: TestClient, model: Model, database: Database, artifacts: Artifacts
) -> None:
    other = a_model(database, artifacts, ready_dataset(database))
    for each in (model, other):
        client.patch(f"/v1/models/{each.id}", json={"aliases": ["production"]})

    assert get(client, "/v1/models/production")["id"] == other.id
    assert client.get("/v1/models/production/download").status_code == 200
    assert [m["id"] for m in get(client, "/v1/models?alias=production")["data"]] == [other.id]
    assert get(client, f"/v1/models/{model.id}")["aliases"] == []
    body = {"model": "production", "dataset": other.dataset_id}
    made = client.post("/v1/evaluations", json=body)
    # the alias may move while the job waits
    assert made.json()["hyperparameters"]["model"] == other.id


def test_an_edit_of_an_older_version_is_refused(client: TestClient, model: Model) -> None:
    path = f"/v1/models/{model.id}"
    client.patch(path, json={"aliases": ["production"]})

    late = client.patch(path, json={"name": "late"}, headers={"If-Match": '"v1"'})

    assert "another version than v1" in problem(late, 412, "precondition_failed")["detail"]
    assert client.patch(path, json={"name": "x"}, headers={"If-Match": '"v2"'}).is_success


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"aliases": ["mdl_1"]}, "/aliases/0"),
        ({"aliases": ["Production"]}, "/aliases/0"),
        ({"aliases": [""]}, "/aliases/0"),
        ({"aliases": None}, "/aliases"),
        ({"metadata": None}, "/metadata"),
        ({"alias": "production"}, "/alias"),
        ({}, ""),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(
    client: TestClient, model: Model, body: dict[str, object], pointer: str
) -> None:
    response = client.patch(f"/v1/models/{model.id}", json=body)

    problem(response, 422, "validation_failed", pointer)


def test_a_model_with_an_alias_is_not_deleted(client: TestClient, model: Model) -> None:
    path = f"/v1/models/{model.id}"
    client.patch(path, json={"aliases": ["production"]})

    refused = problem(client.delete("/v1/models/production"), 409, "model_in_use")

    assert "the alias 'production'" in refused["detail"]
    client.patch(path, json={"aliases": []})
    assert client.delete(path).status_code == 204


def test_an_alias_that_leads_nowhere_is_named(client: TestClient, model: Model) -> None:
    body = {"model": "production", "dataset": model.dataset_id}

    for response, status, code in (
        (client.get("/v1/models/production"), 404, "not_found"),
        (client.post("/v1/evaluations", json=body), 422, "validation_failed"),
    ):
        assert "'production'" in problem(response, status, code)["detail"]


def test_another_owners_alias_is_not_found(
    locked: TestClient, database: Database, artifacts: Artifacts
) -> None:
    model = a_model(database, artifacts, ready_dataset(database))
    mine = bearer(database, Scope.JOBS_WRITE, owner="local")
    edited = locked.patch(f"/v1/models/{model.id}", json={"aliases": ["production"]}, headers=mine)

    others = bearer(database, Scope.JOBS_WRITE, owner="ben")

    assert edited.is_success
    assert get(locked, "/v1/models/production", **mine)["id"] == model.id
    problem(locked.get("/v1/models/production", headers=others), 404, "not_found")
    problem(locked.delete("/v1/models/production", headers=others), 404, "not_found")
