"""What a body may name: only things of the caller's own."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import store
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import JobType
from jobs.keys import Scope
from tests.api.given import a_model, admin, bearer, field, problem, queued, ready_dataset

SAMPLE = {
    "name": "cats",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"},
}


@pytest.fixture
def named(database: Database, artifacts: Artifacts) -> dict[str, dict[str, Any]]:
    """Path to a body of which each field alone names something of the owner `local`."""
    dataset = ready_dataset(database)
    find = queued(database, JobType.LR_FIND, dataset)
    tuning = queued(database, JobType.FINE_TUNE, dataset)
    model = a_model(database, artifacts, dataset)
    return {
        "/v1/fine-tunes": {
            "/dataset": {"dataset": dataset.id},
            "/learning_rate/from_job": {"learning_rate": {"from_job": find.id}},
            "/weights/from_job": {"weights": {"from_job": tuning.id}},
            "/weights/model": {
                "weights": {"model": model.id},
                "architecture": model.architecture,
            },
            "/depends_on/0": {"depends_on": [find.id]},
        },
        "/v1/lr-finds": {"/weights/from_job": {"weights": {"from_job": tuning.id}}},
        "/v1/evaluations": {"/model": {"model": model.id}},
    }


def test_anothers_things_do_not_exist_for_a_body(
    locked: TestClient, database: Database, named: dict[str, dict[str, Any]]
) -> None:
    headers = bearer(database, Scope.JOBS_WRITE, Scope.DATASETS_WRITE, owner="ana")
    for path, fields in named.items():
        for pointer, body in fields.items():
            needed = {"dataset": SAMPLE} if path != "/v1/evaluations" else {"dataset": "ds_x"}

            answer = locked.post(path, json=needed | body, headers=headers)

            refused = problem(answer, 422, "validation_failed", pointer)
            assert field(refused, pointer)["code"] == "not_found"


def test_an_admin_may_name_what_belongs_to_others(
    locked: TestClient, database: Database, named: dict[str, dict[str, Any]]
) -> None:
    for body in named["/v1/fine-tunes"].values():
        answer = locked.post(
            "/v1/fine-tunes", json={"dataset": SAMPLE} | body, headers=admin(database)
        )
        assert answer.status_code == 202, answer.text


def test_an_inline_dataset_needs_the_scope_of_datasets(
    locked: TestClient, database: Database
) -> None:
    headers = bearer(database, Scope.JOBS_WRITE, owner="ana")

    answer = locked.post("/v1/fine-tunes", json={"dataset": SAMPLE}, headers=headers)

    assert problem(answer, 403, "forbidden")["scope"] == "datasets:write"


def test_all_jobs_of_a_chain_belong_to_who_asked(locked: TestClient, database: Database) -> None:
    headers = bearer(database, Scope.JOBS_WRITE, Scope.DATASETS_WRITE, owner="ana")
    body = {"dataset": SAMPLE, "learning_rate": "auto"}

    job = locked.post("/v1/fine-tunes", json=body, headers=headers).json()

    for job_id in (job["id"], *job["depends_on"]):
        assert store.get(database, job_id).owner == "ana"
        assert locked.get(f"/v1/jobs/{job_id}", headers=headers).status_code == 200
