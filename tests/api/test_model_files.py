"""Models as ONNX files: written once when first asked for, then served as any file."""

import hashlib

import pytest
from starlette.testclient import TestClient

from jobs import leases, model_exports, models
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Failure, Job
from jobs.models import Model
from tests.api.given import a_drawer, a_model, get, problem, ready_dataset
from tests.jobs.given import LEASE_MS

CONTENT = b"an ONNX file"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def model(database: Database, artifacts: Artifacts) -> Model:
    """A model, and a worker that could export it."""
    a_drawer(database)
    return a_model(database, artifacts, ready_dataset(database))


def claimed(database: Database) -> Job:
    """The export that was asked for, in a worker's hands."""
    job = leases.claim_next(database, "prepare", "drawer", lease_ms=LEASE_MS)
    assert job is not None
    return job


def export(database: Database, artifacts: Artifacts, model: Model) -> None:
    """The file that was asked for is written."""
    job = claimed(database)
    artifacts.onnx_file(model.id, DIGEST).write_bytes(CONTENT)
    leases.succeed(database, job.id, job.fence, values={})


def test_the_first_request_has_the_file_written_and_the_next_ones_get_it(
    client: TestClient, model: Model, database: Database, artifacts: Artifacts
) -> None:
    path = f"/v1/models/{model.id}/download?format=onnx"

    first, second = client.get(path), client.get(path)
    export(database, artifacts, model)
    third = client.get(path)

    job = first.json()
    assert (first.status_code, first.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (job["type"], job["hyperparameters"]["model"]) == ("model_export", model.id)
    assert second.json()["id"] == job["id"]
    assert (third.status_code, third.content) == (200, CONTENT)
    assert third.headers["etag"] == f'"{DIGEST}"'
    assert third.headers["repr-digest"].startswith("sha-256=:")
    assert f"{model.id}.onnx" in third.headers["content-disposition"]
    tail = client.get(path, headers={"Range": "bytes=8-", "If-Range": f'"{DIGEST}"'})
    assert (tail.status_code, tail.content) == (206, CONTENT[8:])
    assert client.get(path, headers={"If-None-Match": f'"{DIGEST}"'}).status_code == 304


def test_without_a_worker_nothing_is_queued(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    model = a_model(database, artifacts, ready_dataset(database))

    body = problem(client.get(f"/v1/models/{model.id}/download?format=onnx"), 503, "no_workers")

    assert "'prepare'" in body["detail"]
    assert get(client, "/v1/jobs?type=model_export")["data"] == []


def test_an_export_that_fails_tells_why(
    client: TestClient, model: Model, database: Database
) -> None:
    path = f"/v1/models/{model.id}/download?format=onnx"
    client.get(path)
    job = claimed(database)
    failure = Failure(code="checkpoint_corrupt", message="the file is damaged")
    leases.fail(database, job.id, job.fence, failure)

    # the failed one is over: who asks again has it tried again
    again = client.get(path).json()

    assert again["id"] != job.id
    assert (again["state"], again["error"]) == ("queued", None)


def test_a_model_is_deleted_with_its_exported_file(
    client: TestClient, model: Model, artifacts: Artifacts
) -> None:
    file = artifacts.onnx_file(model.id, DIGEST)
    file.write_bytes(CONTENT)

    assert client.delete(f"/v1/models/{model.id}").status_code == 204

    assert not file.exists()
    assert model_exports.onnx_file(artifacts, model.id) is None


def test_a_model_that_is_exported_can_be_deleted(
    client: TestClient, model: Model, database: Database
) -> None:
    client.get(f"/v1/models/{model.id}/download?format=onnx")

    models.delete_model(database, model.id)

    problem(client.get(f"/v1/models/{model.id}/download?format=onnx"), 404, "not_found")
