"""One owner's room: what is beyond it is not made, and whoever asks sees how much is left."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from jobs import datasets, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.keys import Scope
from jobs.settings import Settings
from tests.api.given import Headers, bearer, problem, ready_dataset
from tests.archives import a_zip

SAMPLE = {
    "name": "cats",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"},
}
ZIP = {"Content-Type": "application/zip"}
LEAST = {"architecture": "resnet18", "weights": "none", "num_steps": 20}


@pytest.fixture
def small(with_keys: Settings) -> Iterator[TestClient]:
    """A service that gives one owner two datasets, two jobs and the bytes of one upload."""
    quotas = {
        "max_datasets": 2,
        "max_unfinished_jobs": 2,
        "max_stored_bytes": len(a_zip()) + 10,
        "min_free_bytes": 0,
    }
    app = create_app(with_keys.model_copy(update=quotas))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def ana(database: Database) -> Headers:
    """A key that may do everything but administer."""
    return bearer(database, Scope.DATASETS_WRITE, Scope.JOBS_WRITE, owner="ana")


def refused(answer: Any, thing: str) -> None:  # noqa: ANN401 - an answer
    body = problem(answer, 429, "quota_exceeded")
    assert thing in body["detail"]
    assert answer.headers["retry-after"] == "60"


def test_a_dataset_beyond_the_quota_is_not_made_and_another_owner_has_room(
    small: TestClient, database: Database, ana: Headers
) -> None:
    for _ in range(2):
        assert small.post("/v1/datasets", json=SAMPLE, headers=ana).status_code == 202

    refused(small.post("/v1/datasets", json=SAMPLE, headers=ana), "2 datasets")

    ben = bearer(database, Scope.DATASETS_WRITE, owner="ben")
    assert small.post("/v1/datasets", json=SAMPLE, headers=ben).status_code == 202
    assert len(small.get("/v1/datasets", headers=ana).json()["data"]) == 2


def test_a_dataset_inside_a_job_counts_as_well_and_neither_is_made(
    small: TestClient, database: Database, ana: Headers
) -> None:
    for _ in range(2):
        small.post("/v1/datasets", json=SAMPLE, headers=ana)
    for job in small.get("/v1/jobs", headers=ana).json()["data"]:
        verbs.cancel(database, job["id"])

    refused(small.post("/v1/lr-finds", json={**LEAST, "dataset": SAMPLE}, headers=ana), "datasets")

    assert len(small.get("/v1/jobs", headers=ana).json()["data"]) == 2
    assert len(small.get("/v1/datasets", headers=ana).json()["data"]) == 2


def test_jobs_count_until_they_have_ended(small: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    admin = bearer(database, Scope.ADMIN, owner=dataset.owner)
    body = {**LEAST, "dataset": dataset.id}
    made = [small.post("/v1/lr-finds", json=body, headers=admin).json() for _ in range(2)]

    refused(small.post("/v1/lr-finds", json=body, headers=admin), "2 unfinished jobs")

    verbs.cancel(database, made[0]["id"])
    assert small.post("/v1/lr-finds", json=body, headers=admin).status_code == 202


def test_an_upload_beyond_the_quota_leaves_nothing(
    small: TestClient, artifacts: Artifacts, ana: Headers
) -> None:
    first = small.post("/v1/uploads", content=a_zip(), headers={**ana, **ZIP})

    refused(small.post("/v1/uploads", content=a_zip(), headers={**ana, **ZIP}), "upload bytes")

    assert first.status_code == 201
    kept = [file.name for file in artifacts.uploads_folder().iterdir()]
    assert kept == [first.json()["id"]]


def test_requests_at_once_do_not_exceed_a_quota_together(
    small: TestClient, database: Database, ana: Headers
) -> None:
    with ThreadPoolExecutor(8) as pool:
        send = partial(small.post, "/v1/datasets", json=SAMPLE, headers=ana)
        asked = [pool.submit(send) for _ in range(8)]
        codes = sorted(each.result().status_code for each in asked)

    assert codes == [202] * 2 + [429] * 6
    assert len(datasets.list_datasets(database, after=None, limit=99)) == 2


def test_limits_show_what_is_used_and_what_there_may_be(
    small: TestClient, client: TestClient, ana: Headers
) -> None:
    small.post("/v1/datasets", json=SAMPLE, headers=ana)
    small.post("/v1/uploads", content=a_zip(), headers={**ana, **ZIP})

    mine = small.get("/v1/limits", headers=ana).json()
    anybodys = client.get("/v1/limits").json()

    size = len(a_zip())
    assert mine["quotas"] == {
        "datasets": {"used": 1, "limit": 2},
        "upload_bytes": {"used": size, "limit": size + 10},
        "unfinished_jobs": {"used": 1, "limit": 2},
    }
    assert mine["requests_per_minute"] == 1200
    assert anybodys["requests_per_minute"] is None
    assert {each["limit"] for each in anybodys["quotas"].values()} == {None}
    assert anybodys["sizes"]["photos"] == 500_000
