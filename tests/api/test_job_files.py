"""The files that a job has left, and the checkpoints of one that has not ended."""

import hashlib

import pytest
from fastapi.testclient import TestClient

from jobs import checkpoints, records
from jobs.artifacts import Artifacts
from jobs.checkpoints import Checkpoint
from jobs.database import Database
from jobs.job import Job, JobType
from tests.api.given import evaluated, get, problem, ready_dataset, started


@pytest.fixture
def job(database: Database, artifacts: Artifacts) -> Job:
    """An evaluation with its ledger, and its record."""
    job = evaluated(database, artifacts, ready_dataset(database))
    assert records.write_due(database, artifacts, limit=100) == {}
    return job


def test_the_files_of_a_job_are_listed_with_their_digests(client: TestClient, job: Job) -> None:
    listed = get(client, f"/v1/jobs/{job.id}/artifacts")["data"]

    assert [each["name"] for each in listed] == ["job.json", "samples-valid.parquet"]
    for each in listed:
        content = client.get(each["url"]).content
        assert len(content) == each["size_bytes"]
        assert hashlib.sha256(content).hexdigest() == each["sha256"]


def test_pages_of_files_follow_each_other(client: TestClient, job: Job) -> None:
    first = client.get(f"/v1/jobs/{job.id}/artifacts?limit=1").json()
    second = get(client, f"/v1/jobs/{job.id}/artifacts?limit=1&after={first['next_cursor']}")

    assert [first["has_more"], second["has_more"]] == [True, False]
    assert first["data"][0]["name"] < second["data"][0]["name"]


def test_a_page_of_files_may_begin_behind_a_name(client: TestClient, job: Job) -> None:
    rest = get(client, f"/v1/jobs/{job.id}/artifacts?after=job.json")["data"]

    assert [each["name"] for each in rest] == ["samples-valid.parquet"]


def test_a_file_can_be_had_in_parts_and_not_twice(client: TestClient, job: Job) -> None:
    path = f"/v1/jobs/{job.id}/artifacts/samples-valid.parquet"
    whole = client.get(path)

    part = client.get(path, headers={"Range": "bytes=0-3"})
    known = client.get(path, headers={"If-None-Match": whole.headers["etag"]})
    beyond = client.get(path, headers={"Range": "bytes=99999999-"})

    assert (part.status_code, part.content) == (206, b"PAR1")
    assert (known.status_code, known.content) == (304, b"")
    problem(beyond, 416, "range_not_satisfiable")
    assert whole.headers["repr-digest"].startswith("sha-256=:")
    assert whole.headers["content-type"] == "application/vnd.apache.parquet"


@pytest.mark.parametrize("name", ["model.safetensors", "..%2Fjob.json", "log.txt"])
def test_a_name_that_is_not_listed_leads_nowhere(client: TestClient, job: Job, name: str) -> None:
    problem(client.get(f"/v1/jobs/{job.id}/artifacts/{name}"), 404, "not_found")


def test_a_job_without_files_has_an_empty_list(client: TestClient, database: Database) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))

    assert get(client, f"/v1/jobs/{job.id}/artifacts")["data"] == []
    assert get(client, f"/v1/jobs/{job.id}/checkpoints")["data"] == []


def test_checkpoints_are_listed_newest_first(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    for step in (10, 20):
        path = artifacts.attempt_folder(job.id, job.fence) / f"checkpoint-{step}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(step))
        saved = Checkpoint(artifacts.relative(path), step)
        checkpoints.record(database, job.id, job.fence, saved)

    found = get(client, f"/v1/jobs/{job.id}/checkpoints")["data"]
    later = get(client, f"/v1/jobs/{job.id}/checkpoints?after=20")["data"]

    assert [(c["step"], c["is_newest"], c["size_bytes"]) for c in found] == [
        (20, True, 20),
        (10, False, 10),
    ]
    assert [each["step"] for each in later] == [10]
    answer = client.get(f"/v1/jobs/{job.id}/checkpoints?after=newest")
    problem(answer, 422, "validation_failed", "/query/after")
